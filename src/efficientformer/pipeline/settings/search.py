"""Settings of the table, of slimming and of what it is compared with. The first sentence of a docstring is the help of
its flag."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from efficientformer.pipeline.settings.group import NotNegative, Positive, PositiveFloat, SettingsGroup, Share
from efficientformer.search.actions import ActionSet
from efficientformer.search.objective import Objective
from efficientformer.search.scoring.score import Metric


class TableSettings(SettingsGroup):
    """The latency lookup table."""

    rounds: Annotated[int, Field(ge=2)] = 24
    """Timing rounds over all parts of the table."""
    max_error: PositiveFloat = 7.0
    """Largest mean error of a usable table, in %. It is measured on networks that the table has not seen."""
    allow_foreign: bool = False
    """Use a table from another device or runtime. Or another version."""


class SlimSettings(SettingsGroup):
    """Latency-driven slimming."""

    images: Positive = 500
    """Most held-out images that score a candidate."""
    bn_images: Annotated[int, Field(ge=0)] = 512
    """Images that re-estimate batch norm. 0: the scoring images are normalized by their own statistics, in
    batches of up to 250; equally good, and faster. With fewer than 50 scoring images (16 with masks or boxes), 512
    training images are used."""
    metric: Metric = "likelihood"
    """How a candidate is scored. likelihood: geometric mean of the probabilities of the correct classes, at the
    temperature that suits the candidate best. top1: accuracy, as in the paper; needs many more images for the same
    precision. mean_ap, miou, box_ap: of several labels an image, masks and boxes, in place of top1."""
    channels: Literal["first", "important"] = "first"
    """Channels to keep. Of a narrowed network. first: those that training at several widths put first. important:
    those that change the loss most if left out, by gradients on training images; they are put first, once."""
    actions: ActionSet = "paper"
    """Actions of a step. paper: the least important block, the first MB3D, the least important stage. every:
    any block, the first MB3D, any stage. exchange: also channels of one stage for those of another."""
    objective: Annotated[str, AfterValidator(lambda text: Objective.parse(text).name)] = "latency"
    """What an action gains. latency: milliseconds saved. mes: Mobile Efficiency Score (V2). Or weights of the relative
    savings, such as latency=1,params=0.5; of latency, params, file and memory."""
    stride: Share = 0.0
    """Least saving of a step, a share of latency. Steps to a budget never overshoot it. 0: one block or 16
    channels per step (the paper)."""
    lazy: bool = False
    """Skip actions that cost more before. More than the best of the step costs now."""
    workers: Positive = 1
    """Candidates that are scored at the same time."""
    recover_every: Annotated[int, Field(ge=0)] = 0
    """Steps between recovery trainings; 0: none. The paper has none."""
    recover_steps: Positive = 50
    """Training steps of a recovery."""
    recover_lr: PositiveFloat = 2e-4
    """Peak learning rate of a recovery."""
    polish: Annotated[int, Field(ge=0)] = 0
    """Small changes to try on a network found. They are random, and the best replaces it. 0: off (the paper)."""
    trials: Annotated[int, Field(ge=0)] = 0
    """Networks per budget to train briefly. The best is kept. They are the one found and random ones of equal
    latency and other depths, the best by the supernet."""
    trial_epochs: Positive = 2
    """Epochs of such a training. From new weights."""
    headroom: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """Share of a budget left free for noise."""

    @model_validator(mode="after")
    def _polishing_has_one_set_of_weights(self) -> Self:
        if self.polish and self.recover_every:
            raise ValueError("recover_every changes the weights that polish scores with: it needs polish 0")
        return self

    @model_validator(mode="after")
    def _lazy_steps_score_one_by_one(self) -> Self:
        if self.lazy and self.workers > 1:
            raise ValueError("lazy scores the candidates of a step one after another: it needs workers 1")
        return self


class BaselineSettings(SettingsGroup):
    """What slimming is compared with, at the same latency."""

    random: Positive = 50
    """Random networks of each budget."""
    evolution: NotNegative = 10.0
    """Evaluations of evolution per one of slimming. 0 leaves it out."""


class RankSettings(SettingsGroup):
    """How well the supernet ranks networks that are trained from scratch."""

    networks: Annotated[int, Field(ge=3)] = 20
    """Random networks to train."""


class LimitSettings(SettingsGroup):
    """Limits of a network in addition to its latency."""

    params_m: PositiveFloat | None = None
    """Most parameters, in millions."""
    macs_m: PositiveFloat | None = None
    """Most multiply-accumulates, in millions."""
    file_mib: PositiveFloat | None = None
    """Largest exported file, in MiB."""
    memory_mib: PositiveFloat | None = None
    """Most memory of a process that runs it, in MiB. It opens the file and runs it once."""
