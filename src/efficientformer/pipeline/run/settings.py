"""Every setting of a run, checked when it is made. The first sentence of a docstring is the help of its flag."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from efficientformer.data.augmentation import Augmentation
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, default_clock
from efficientformer.latency.runtime import ACCELERATORS, RuntimeName
from efficientformer.latency.timing.measurement import Percentile
from efficientformer.search.actions import ActionSet
from efficientformer.search.scoring.score import Metric
from efficientformer.search.supernet.mixing import ElasticWidth, Noise, Sampling
from efficientformer.training.recipe import Precision

Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TableSettings(_Settings):
    """The latency lookup table."""

    rounds: Annotated[int, Field(ge=2)] = 24
    """Interleaved timing rounds over all parts of the table."""
    max_error: PositiveFloat = 7.0
    """Largest mean error (%) on unseen networks of a usable table."""
    allow_foreign: bool = False
    """Use a table from another device, runtime or version."""


class OptimizerSettings(_Settings):
    """What every training needs."""

    epochs: Positive
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images per step."""
    lr: PositiveFloat = 2e-3
    """Peak learning rate of AdamW."""
    weight_decay: NotNegative = 0.025
    """Weight decay of AdamW."""
    lr_warmup_epochs: NotNegative = 1.0
    """Epochs until the peak; a cosine follows."""
    label_smoothing: Share = 0.1
    """Probability spread over the wrong classes."""
    augmentation: Augmentation = "light"
    """Random changes of training images."""
    precision: Precision = "fp32"
    """Precision of most products. bf16 is for GPUs and CPUs that have it; weights stay in single precision."""


class SupernetSettings(OptimizerSettings):
    """Training of the supernet of MetaPaths."""

    epochs: Positive = 8
    """Passes over the training images."""
    alpha_lr: PositiveFloat = 1e-2
    """Peak learning rate of the path logits."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (1.0, 0.2)
    """Gumbel-softmax temperature at the first and last step. It falls geometrically in between."""
    noise: Noise = "uniform"
    """Noise added to the path logits. uniform: from 0 to 1 (the paper); with one sampled path, a path far behind is
    never drawn again. gumbel: unbounded, draws paths by their probabilities."""
    sampling: Sampling = "soft"
    """Which paths a step trains. soft: all, mixed by the noisy logits (the paper). single: one, drawn by the noisy
    logits, with a straight-through gradient. even: one, each drawn equally often; no noise, no temperature."""
    elastic_width: ElasticWidth = "random"
    """Widths that are trained. none: the largest (the paper). random: random ones in every other step. sandwich: the
    largest, the smallest and random ones in every step."""
    recompute: bool = False
    """Recompute activations in the backward pass to save memory. A step takes about a third longer."""
    held_out: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    """Share of the training images kept for scoring subnets."""

    @model_validator(mode="after")
    def _sampling_needs_noise(self) -> Self:
        if self.sampling == "single" and self.noise == "none":
            raise ValueError("sampling 'single' needs noise (uniform or gumbel): without it one path alone is trained")
        return self


class SlimSettings(_Settings):
    """Latency-driven slimming."""

    images: Positive = 500
    """Held-out images that score a candidate, at most."""
    bn_images: Annotated[int, Field(ge=0)] = 512
    """Training images that re-estimate batch norm. 0: the scoring images are normalized by their own statistics, in
    batches of up to 250; equally good, and faster. With fewer than 50 scoring images, 512 training images are used."""
    metric: Metric = "likelihood"
    """How a candidate is scored. likelihood: geometric mean of the probabilities of the correct classes. top1:
    accuracy, as in the paper; needs many more images for the same precision."""
    actions: ActionSet = "paper"
    """What a step chooses from. paper: the least important block, the first MB3D, the least important stage. every:
    any block, the first MB3D, any stage. exchange: also channels of one stage for those of another."""
    stride: Share = 0.0
    """Smallest saving of a step, as a share of the latency. Steps never overshoot the next budget. 0: one block or 16
    channels per step (the paper)."""
    lazy: bool = False
    """Skip actions that cost more last time than the best costs now."""
    workers: Positive = 1
    """Candidates that are scored at the same time."""
    recover_every: Annotated[int, Field(ge=0)] = 0
    """Train the network found every so many steps; 0: never (the paper)."""
    recover_steps: Positive = 50
    """Training steps of such a recovery."""
    recover_lr: PositiveFloat = 2e-4
    """Peak learning rate of a recovery."""
    polish: Annotated[int, Field(ge=0)] = 0
    """Random small changes to try on each network that met its budget. The best replaces it. 0: off (the paper)."""
    trials: Annotated[int, Field(ge=0)] = 0
    """Networks of each budget to train briefly; the best is kept. They are the one found and random ones of equal
    latency and other depths, the best by the supernet."""
    trial_epochs: Positive = 2
    """Epochs of such a training, from new weights."""
    headroom: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """Share of a budget left free for measurement noise."""

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


class BaselineSettings(_Settings):
    """What slimming is compared with, at the same latency."""

    random: Positive = 50
    """Random networks of each budget."""
    evolution: NotNegative = 10.0
    """Evaluations of the evolution, over those of slimming; 0: none."""


class RankSettings(_Settings):
    """How well the supernet ranks networks that are trained from scratch."""

    networks: Annotated[int, Field(ge=3)] = 20
    """Random networks to train."""


class LimitSettings(_Settings):
    """Limits of a network in addition to its latency."""

    params_m: PositiveFloat | None = None
    """Most parameters, in millions."""
    macs_m: PositiveFloat | None = None
    """Most multiply-accumulates, in millions."""
    file_mib: PositiveFloat | None = None
    """Largest exported file, in MiB."""
    memory_mib: PositiveFloat | None = None
    """Most memory of a process that runs the file once, in MiB."""


class TrainSettings(OptimizerSettings):
    """Training of the networks that were found."""

    epochs: Positive = 10
    """Passes over the training images."""
    mixup: NotNegative = 0.0
    """Strength of mixup; 0: off."""
    cutmix: NotNegative = 0.0
    """Strength of cutmix; 0: off."""
    ema_decay: Share = 0.99
    """Decay of the moving average of the weights; 0: off."""
    drop_path_rate: Share = 0.0
    """Probability that the last block is skipped in a step."""
    init: Literal["scratch", "supernet"] = "scratch"
    """Weights to start from: new ones (the paper) or the supernet's."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of a layer over that of the layer behind it. For weights that were trained before."""
    frozen_epochs: NotNegative = 0.0
    """First epochs that train the head alone."""
    evaluate_every: Positive = 2
    """Epochs between validation scores in the log."""


class ExportSettings(_Settings):
    """Files of the trained networks."""

    autotune: bool = True
    """Measure equivalent forms of a network and write the fastest."""
    dynamic_batch: bool = False
    """Write files that take any batch size rather than one image."""


class VerifySettings(_Settings):
    """Measurement of the exported files."""

    rounds: Annotated[int, Field(ge=40)] = 100
    """Interleaved timing rounds over the exported files."""


class Settings(DeviceOptions, _Settings):
    """One run, complete."""

    preset: str = "quick"
    """Recipe: quick, standard, imagenet, fine_tune, or a YAML file. quick suits images of 28 to 64 px, standard 96 to
    160 px, imagenet is the paper's space at 224 px; fine_tune is for train --init."""
    data: str | None = None
    """Folder of images; the shipped Fashion-MNIST sample by default."""
    val_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Share of the images for validation, where no split is given."""
    resolution: Annotated[int, Field(ge=16, le=1024)] = 28
    """Size of the network's input, in pixels."""
    space: Literal["quick", "standard", "imagenet"] = "quick"
    """Search space."""
    budget: Texts = ("40%", "25%")
    """Latency budget: 8ms, 800us, or 40% of the largest network; repeatable."""
    percentile: Percentile = "p50"
    """Latency that the budget is about. p50: median of the quiet samples. p90: 90th percentile of all samples."""
    runtime: RuntimeName = "onnxruntime"
    """Runtime that is measured; some need an extra, see README."""
    threads: Positive = 1
    """Threads of the measured runtime."""
    clock: Clock | None = None
    """Clock of the measurement; cpu for one thread on a CPU by default, else wall."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every random number."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that decode images; 0: the main process."""
    training_threads: Positive | None = None
    """CPU threads for training and scoring; all cores by default."""
    training_device: str = "auto"
    """Where networks are trained: auto, cpu, cuda or mps."""
    supernet_from: str | None = None
    """Run directory whose trained supernet this run takes over. Its settings hold where this run gives none."""
    table: TableSettings = TableSettings()
    supernet: SupernetSettings = SupernetSettings()
    slim: SlimSettings = SlimSettings()
    limits: LimitSettings = LimitSettings()
    baselines: BaselineSettings = BaselineSettings()
    rank: RankSettings = RankSettings()
    train: TrainSettings = TrainSettings()
    export: ExportSettings = ExportSettings()
    verify: VerifySettings = VerifySettings()

    @model_validator(mode="after")
    def _accelerators_have_their_own_clock(self) -> Self:
        if self.runtime in ACCELERATORS and (self.clock == "cpu" or self.threads != 1):
            raise ValueError(f"runtime '{self.runtime}' does not compute on the CPU: use clock 'wall' and one thread")
        return self

    @property
    def latency_clock(self) -> Clock:
        return self.clock or default_clock(self.device, [self.runtime], self.threads)
