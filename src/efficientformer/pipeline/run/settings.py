"""Every setting of a run, validated. The first sentence of a docstring is the help of its flag."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from efficientformer.arch.resolution import Resolution, resolution_of
from efficientformer.arch.spaces import SPACES
from efficientformer.data.augmentation import Augmentation, Balance
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, counts_own_time, resolve_clock
from efficientformer.latency.runtime import ACCELERATORS, RuntimeName
from efficientformer.latency.timing.measurement import Percentile
from efficientformer.pipeline.image_settings import DetectionSettings, ImageSettings, InstanceSettings, SemanticSettings
from efficientformer.pipeline.parent_settings import TrainingsBelowParent
from efficientformer.pipeline.teacher_settings import OrNone, TeacherSettings
from efficientformer.search.actions import ActionSet
from efficientformer.search.objective import Objective
from efficientformer.search.scoring.score import Metric
from efficientformer.search.supernet.mixing import BatchNormForm, ElasticWidth, Noise, Sampling
from efficientformer.training.recipe import Precision

Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]


def is_path(value: str) -> bool:
    """Whether a preset or a space is the path of a file instead of a name."""
    return Path(value).suffix in (".yaml", ".yml")


BEST = "best"
"""The reference that is, for each budget, the most accurate published network within it on this device."""
BELOW_PARENT = "parent"
"""The name of the space whose largest network is the parent."""


def _space(value: str) -> str:
    if value not in (*SPACES, BELOW_PARENT) and not is_path(value):
        names = ", ".join((*SPACES, BELOW_PARENT))
        raise ValueError(f"there is no space {value[:60]!r}; choose one of {names}, or give a file such as mine.yaml")
    return value


def _input_size(value: Any) -> Resolution:
    return resolution_of(value, least=16, most=1024)


SpaceSetting = Annotated[str, AfterValidator(_space)]
InputSize = Annotated[Any, AfterValidator(_input_size)]
"""A `Resolution`, which the command line gives as one text."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TableSettings(_Settings):
    """The latency lookup table."""

    rounds: Annotated[int, Field(ge=2)] = 24
    """Timing rounds over all parts of the table."""
    max_error: PositiveFloat = 7.0
    """Largest mean error of a usable table, in %. It is measured on networks that the table has not seen."""
    allow_foreign: bool = False
    """Use a table from another device or runtime. Or another version."""


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
    """Probability for the other classes."""
    augmentation: Augmentation = "light"
    """Augment images."""
    balance: Balance = "none"
    """Balance classes. weights: the loss of an image is weighted by the inverse
    frequency of its class. sampling: an epoch has equally many images of every class."""
    precision: Precision = "fp32"
    """Precision of most products. bf16 is for GPUs and CPUs that have it; weights stay in single precision."""


class SupernetSettings(OptimizerSettings):
    """Training of the supernet."""

    epochs: Positive = 8
    """Passes over the training images."""
    alpha_lr: PositiveFloat = 1e-2
    """Peak learning rate of the path logits."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (1.0, 0.2)
    """First and last softmax temperature. It falls geometrically in between."""
    noise: Noise = "uniform"
    """Noise added to the path logits. uniform: from 0 to 1 (the paper); with one sampled path, a path far behind is
    never drawn again. gumbel: unbounded, draws paths by their probabilities."""
    sampling: Sampling = "soft"
    """Which paths a step trains. soft: all, mixed by the noisy logits (the paper). single: one, drawn by the noisy
    logits, with a straight-through gradient. even: one, each drawn equally often; no noise, no temperature."""
    elastic_width: ElasticWidth = "random"
    """Trained widths. none: the largest (the paper). random: random ones in every other step. sandwich: the
    largest, the smallest and random ones in every step."""
    batch_norm: BatchNormForm = "shared"
    """Batch norm of EfficientFormerV2 spaces. shared: one for all widths. switchable: one for each number of channels
    (the paper). Their statistics are re-estimated for scores in either form."""
    networks: Positive = 4
    """Networks that a step trains. In EfficientFormerV2 spaces. 4: the largest, the smallest and two random ones (the
    paper); 2: the largest and a random one; 1: a random one."""
    mixup: NotNegative = 0.0
    """Strength of mixup; 0: off."""
    cutmix: NotNegative = 0.0
    """Strength of cutmix; 0: off."""
    ema_decay: Share = 0.0
    """Decay of the moving average; 0: off."""
    recompute: bool = False
    """Save memory by computing activations twice. A step takes about a third longer."""
    held_out: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    """Share of images kept for scoring subnets."""

    @model_validator(mode="after")
    def _sampling_needs_noise(self) -> Self:
        if self.sampling == "single" and self.noise == "none":
            raise ValueError("sampling 'single' needs noise (uniform or gumbel): without it one path alone is trained")
        return self


OF_METAPATHS = ("alpha_lr", "temperature", "noise", "sampling", "elastic_width")
OF_SLIMMABLE = ("batch_norm", "networks")
"""Settings of the supernet without effect in spaces of EfficientFormerV2, and in those of EfficientFormer."""


class SlimSettings(_Settings):
    """Latency-driven slimming."""

    images: Positive = 500
    """Most held-out images that score a candidate."""
    bn_images: Annotated[int, Field(ge=0)] = 512
    """Images that re-estimate batch norm. 0: the scoring images are normalized by their own statistics, in
    batches of up to 250; equally good, and faster. With fewer than 50 scoring images, 512 training images are used."""
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


class BaselineSettings(_Settings):
    """What slimming is compared with, at the same latency."""

    random: Positive = 50
    """Random networks of each budget."""
    evolution: NotNegative = 10.0
    """Evaluations of evolution per one of slimming. 0 leaves it out."""


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
    """Most memory of a process that runs it, in MiB. It opens the file and runs it once."""


class NetworkSettings(OptimizerSettings):
    """Training of one network."""

    epochs: Positive = 10
    """Passes over the training images."""
    mixup: NotNegative = 0.0
    """Strength of mixup; 0: off."""
    cutmix: NotNegative = 0.0
    """Strength of cutmix; 0: off."""
    ema_decay: Share = 0.99
    """Decay of the moving average; 0: off."""
    drop_path_rate: Share = 0.0
    """Probability of skipping the last block. It falls linearly towards the stem."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of a layer over the next. For weights that were trained before."""
    frozen_epochs: NotNegative = 0.0
    """First epochs that train the head alone."""
    evaluate_every: Positive = 2
    """Epochs between validation scores in the log."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Epochs without progress that end it; 0: none. Every epoch is scored on images held out of those for training
    (supernet.held_out): by top-1, or by balanced accuracy with a balance."""
    keep: Literal["last", "best"] | None = None
    """Epoch of the weights. By default last, and with patience best."""

    @property
    def judges_epochs(self) -> bool:
        """Whether a part of the training images is held out to score every epoch."""
        return self.patience > 0 or self.keep == "best"

    @property
    def keeps_best(self) -> bool:
        return self.judges_epochs and self.keep != "last"


class TrainSettings(TeacherSettings, NetworkSettings):
    """Training of the networks that were found."""

    init: Literal["scratch", "supernet"] = "scratch"
    """Initial weights. scratch: new ones (the paper). supernet: the supernet's."""
    head_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout in the head for masks. Of whole maps before the classes are told apart; 0.1 in the recipe of ADE20K."""

    @property
    def idle(self) -> frozenset[str]:
        return super().idle | (frozenset() if self.head_dropout else {"train.head_dropout"})


class ParentSettings(TrainingsBelowParent, NetworkSettings):
    """Fine-tuning of the parent: the trained network that design --init starts from."""

    weights: str | None = None
    """File of the published network's weights; downloaded by default."""
    epochs: Annotated[int, Field(ge=0)] = 10
    """Passes over the training images. 0: the parent is taken as it is; it must know the run's classes."""


class ExportSettings(_Settings):
    """Files of the trained networks."""

    autotune: bool = True
    """Measure equivalent forms, write the fastest."""
    dynamic_batch: bool = False
    """Write files that take any batch size. Rather than one image, for which runtimes plan better."""


class VerifySettings(_Settings):
    """Measurement of the exported files."""

    rounds: Annotated[int, Field(ge=40)] = 100
    """Timing rounds over the exported files."""


class Settings(ImageSettings, DeviceOptions, _Settings):
    """One run, complete."""

    preset: str = "quick"
    """quick, standard, imagenet, fine_tune or a file. quick suits images of 28 to 64 px, standard 96 to 160
    px; imagenet is the paper's space at 224 px; fine_tune, segment, detect and instances are for train --init. A file
    is YAML with settings."""
    resolution: InputSize = 28
    """Size of the network's input, in pixels. A side, or height x width such as 96x160."""
    space: SpaceSetting = "v2_quick"
    """Search space: a name or a YAML file. 'efficientformer space' lists the names, and prints a space to start from;
    docs/spaces.md describes the file. parent: all networks that the one of --init can be slimmed to."""
    budget: Texts = ("40%", "25%")
    """8ms, 800us or 40% of the largest. Repeatable. A share is of the largest network of the search space."""
    percentile: Percentile = "p50"
    """Promised latency. p50: median of the quiet samples. p90: 90th percentile of all samples."""
    runtime: RuntimeName = "onnxruntime"
    """Runtime that is measured. Some come with an extra, such as pip install "efficientformer[openvino]"."""
    threads: Positive = 1
    """Threads of the measured runtime."""
    clock: Clock | None = None
    """Clock of the measurement. By default cpu for one thread on a CPU, else wall."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every random number."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that decode images; 0: this one."""
    training_threads: Positive | None = None
    """CPU threads for training and scoring. All cores by default."""
    training_processes: Positive = 1
    """Networks trained at a time. Each in a process with its share of the threads: small ones leave threads idle."""
    training_device: str = "auto"
    """Training on auto, cpu, cuda or mps."""
    reference: OrNone = None
    """Published network to compare with: best or NAME. It is fine-tuned as the networks found are trained. best: the
    most accurate within each budget, by the shortlist of this device. none: no comparison."""
    reference_weights: OrNone = None
    """File of its weights, or a folder with NAME.safetensors. Downloaded by default."""
    supernet_from: str | None = None
    """Run directory whose supernet is taken over. none: train one here. Its settings hold where this run gives none,
    but not its device."""
    table: TableSettings = TableSettings()
    parent: ParentSettings = ParentSettings()
    supernet: SupernetSettings = SupernetSettings()
    slim: SlimSettings = SlimSettings()
    limits: LimitSettings = LimitSettings()
    baselines: BaselineSettings = BaselineSettings()
    rank: RankSettings = RankSettings()
    train: TrainSettings = TrainSettings()
    semantic: SemanticSettings = SemanticSettings()
    detection: DetectionSettings = DetectionSettings()
    instance: InstanceSettings = InstanceSettings()
    export: ExportSettings = ExportSettings()
    verify: VerifySettings = VerifySettings()

    @model_validator(mode="after")
    def _accelerators_have_their_own_clock(self) -> Self:
        if self.runtime in ACCELERATORS and (self.clock == "cpu" or self.threads != 1):
            raise ValueError(f"runtime '{self.runtime}' does not compute on the CPU: use clock 'wall' and one thread")
        return self

    @model_validator(mode="after")
    def _cpu_time_is_of_one_thread_here(self) -> Self:
        if self.clock == "cpu" and self.threads != 1:
            raise ValueError(
                f"clock 'cpu' counts one thread, not threads {self.threads}: use clock 'wall', or threads 1"
            )
        if self.clock == "cpu" and not counts_own_time(self.device):
            raise ValueError(f"clock 'cpu' cannot be read on device '{self.device}': use clock 'wall'")
        return self

    @model_validator(mode="after")
    def _switchable_batch_norm_is_of_the_first_channels(self) -> Self:
        if self.slim.channels == "important" and self.supernet.batch_norm == "switchable":
            raise ValueError(
                "slim.channels 'important' needs supernet.batch_norm 'shared': a switchable batch norm was trained for "
                "the first channels"
            )
        return self

    @model_validator(mode="after")
    def _rounds_train_once(self) -> Self:
        if self.slim.recover_every and self.parent.has_rounds:
            raise ValueError("slim.recover_every trains between all steps: it needs parent.round_epochs 0")
        return self

    @property
    def latency_clock(self) -> Clock:
        return resolve_clock(self.clock, self.device, [self.runtime], self.threads)


def leaves(name: str = "") -> list[str]:
    """Dotted names of the settings of a group; for a setting, its own name; for the empty name, all names."""
    if not name:
        return [leaf for field in Settings.model_fields for leaf in leaves(field)]
    group = Settings.model_fields[name].default if "." not in name else None
    return [f"{name}.{field}" for field in type(group).model_fields] if isinstance(group, BaseModel) else [name]
