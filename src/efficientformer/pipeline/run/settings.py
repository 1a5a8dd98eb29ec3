"""Every setting of a run, checked when it is made."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from efficientformer.data.augmentation import Augmentation
from efficientformer.latency.devices import default_clock
from efficientformer.latency.runtime import ACCELERATORS, RuntimeName
from efficientformer.search.actions import ActionSet
from efficientformer.search.scoring.score import Metric
from efficientformer.search.supernet.mixing import ElasticWidth, Noise, Sampling
from efficientformer.training.recipe import Precision

PresetName = Literal["quick", "standard", "imagenet", "fine_tune"]
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TableSettings(_Settings):
    """The latency lookup table."""

    rounds: Annotated[int, Field(ge=2)] = 24
    """Interleaved timing rounds over all parts of the table."""
    max_error: PositiveFloat = 7.0
    """Largest mean error, in percent on held-out networks, of a table that slimming may use."""
    allow_foreign: bool = False
    """Use the table though it was measured on another device, runtime or version."""


class TrainingSettings(_Settings):
    """What every training has to be told."""

    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)] = 64
    lr: PositiveFloat = 2e-3
    weight_decay: NotNegative = 0.025
    lr_warmup_epochs: NotNegative = 1.0
    label_smoothing: Share = 0.1
    augmentation: Augmentation = "light"
    precision: Precision = "fp32"
    """bf16: weights stay in single precision, most products are taken in bfloat16; for GPUs and CPUs that have it."""


class SupernetSettings(TrainingSettings):
    """Training of the supernet of MetaPaths."""

    epochs: Positive = 8
    alpha_lr: PositiveFloat = 1e-2
    """Peak learning rate of the path logits."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (1.0, 0.2)
    """Gumbel-softmax temperature at the first and at the last step; geometric in between."""
    noise: Noise = "uniform"
    """Added to the logits of paths. uniform: from 0 to 1 (the paper); where one path is sampled, one that lies far
    behind is never drawn again. gumbel: of any size, which draws paths by their probabilities."""
    sampling: Sampling = "soft"
    """soft: every candidate, mixed (the paper). single: one path with a straight-through gradient, sampled by the noisy
    logits. even: one path with that gradient, each drawn as often whatever the logits say; no noise, no temperature."""
    elastic_width: ElasticWidth = "random"
    """Widths that are trained, so that narrowed networks can be judged untrained. none: the largest (the paper).
    random: every other step at random ones. sandwich: the largest, the smallest and random ones in every step."""
    recompute: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third more time."""
    held_out: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    """Share of the training images kept out of supernet training to judge subnets."""

    @model_validator(mode="after")
    def _sampling_needs_noise(self) -> Self:
        if self.sampling == "single" and self.noise == "none":
            raise ValueError("sampling 'single' needs noise (uniform or gumbel): without it one path alone is trained")
        return self


class SlimSettings(_Settings):
    """Latency-driven slimming."""

    images: Positive = 500
    """Held-out images that judge a candidate (all, where there are fewer)."""
    bn_images: Annotated[int, Field(ge=0)] = 512
    """Training images from which batch norm statistics are estimated again before a candidate is judged. 0: none, the
    images that judge are normalized by their own statistics, in batches of up to 250; as good, and faster by as many
    images. Where fewer than 50 judge, 512 training images are taken after all."""
    judge: Metric = "likelihood"
    """What a candidate's accuracy is. likelihood: the geometric mean of the probabilities that it gives to the right
    classes. top1: the share of images that it gets right (the paper), which takes many more images to tell as much."""
    actions: ActionSet = "paper"
    """What a step may choose from. paper: the least important block, the first MB3D, the least important stage. every:
    any block, the first MB3D, any stage. exchange: those, and channels of one stage for those of another."""
    stride: Share = 0.0
    """Share of the latency that an action of a step saves, where it can, and no more than the next budget asks for: a
    stage goes on narrowing, further blocks go. 0: one block or 16 channels (the paper). Fewer networks are judged."""
    lazy: bool = False
    """Leave out of a step what cost more per millisecond, when last weighed, than the best of the step costs now."""
    workers: Positive = 1
    """Candidates of a step that are judged at the same time, each in a thread of its own."""
    recover_every: Annotated[int, Field(ge=0)] = 0
    """Steps after which the network reached is trained for a while with the supernet's weights; 0 never (the paper)."""
    recover_steps: Positive = 50
    """Training steps of such a recovery, with batch size, augmentation and weight decay of the supernet."""
    recover_lr: PositiveFloat = 2e-4
    """Peak learning rate of a recovery."""
    polish: Annotated[int, Field(ge=0)] = 0
    """Mutants to be judged, in both directions, of a network that met its budget; the best takes its place."""
    trials: Annotated[int, Field(ge=0)] = 0
    """Networks of each budget that are trained alone for a short while; the best takes the place of the one found. They
    are the one found and, of random ones as slow, those of other depths that the supernet likes best."""
    trial_epochs: Positive = 2
    """Epochs of such a training, from new weights, by the settings of `train`."""
    headroom: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """Share of a budget left free for the next measurement's noise."""

    @model_validator(mode="after")
    def _polishing_has_one_set_of_weights(self) -> Self:
        if self.polish and self.recover_every:
            raise ValueError("recover_every changes the weights that polish judges by: it needs polish 0")
        return self

    @model_validator(mode="after")
    def _lazy_steps_judge_one_by_one(self) -> Self:
        if self.lazy and self.workers > 1:
            raise ValueError("lazy judges the candidates of a step one after another: it needs workers 1")
        return self


class BaselineSettings(_Settings):
    """What slimming is held against, at the same latency."""

    random: Positive = 50
    """Random networks of each budget."""
    evolution: NotNegative = 10.0
    """Evaluations of the evolution, as a multiple of those of slimming; 0 leaves it out."""


class RankSettings(_Settings):
    """How well the supernet ranks networks that are trained by themselves."""

    networks: Annotated[int, Field(ge=3)] = 20
    """Random networks that are trained."""


class LimitSettings(_Settings):
    """What a found network may take beside its latency; all of it has to hold."""

    params_m: PositiveFloat | None = None
    """Millions of parameters."""
    macs_m: PositiveFloat | None = None
    """Millions of multiply-accumulates."""
    file_mib: PositiveFloat | None = None
    """Size of the exported file in MiB."""
    memory_mib: PositiveFloat | None = None
    """Memory that a process takes to open the exported file and run it once, in MiB."""


class TrainSettings(TrainingSettings):
    """Training of the networks that were found."""

    epochs: Positive = 10
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    ema_decay: Share = 0.99
    drop_path_rate: Share = 0.0
    init: Literal["scratch", "supernet"] = "scratch"
    """scratch: new weights (the paper). supernet: start from the supernet's."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each layer as a share of that of the layer behind it, for weights that were trained before."""
    frozen_epochs: NotNegative = 0.0
    """Epochs at first that train the head alone."""
    evaluate_every: Positive = 2
    """Epochs between scores in the training log."""


class ExportSettings(_Settings):
    """Files of the trained networks."""

    autotune: bool = True
    """Measure equivalent forms of a network on the device, and write the fastest; seconds for each network."""
    dynamic_batch: bool = False
    """Files that take any number of images at a time, rather than one."""


class VerifySettings(_Settings):
    """Measuring of whole networks."""

    rounds: Annotated[int, Field(ge=40)] = 100
    """Interleaved timing rounds over the networks and the largest one."""


class Settings(_Settings):
    """One run, complete."""

    preset: PresetName = "quick"
    """quick suits images of 28 to 64 px, standard 96 to 160 px, imagenet is the paper's space at 224 px; fine_tune is
    for train --init."""
    data: str | None = None
    """Folder of images; the shipped Fashion-MNIST sample when absent."""
    val_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    """Share of a single folder's images that becomes its validation part."""
    resolution: Annotated[int, Field(ge=16, le=1024)] = 28
    space: Literal["quick", "standard", "imagenet"] = "quick"
    budget: tuple[str, ...] = ("40%", "25%")
    percentile: Literal["p50", "p90"] = "p50"
    """What has to be within the budget: the median of the undisturbed samples, or the 90th percentile of all."""
    runtime: RuntimeName = "onnxruntime"
    """What runs the networks that are measured; some come with an extra: pip install "efficientformer[openvino]"."""
    device: str = "local"
    """Where they are measured: local, python:PATH (another environment), ssh:USER@HOST, adb or adb:SERIAL (a phone),
    command:PROGRAM (any program that prints JSON); see docs/devices.md."""
    device_program: str | None = None
    """Where the runtime's benchmark program lies on a phone; its own name in /data/local/tmp by default."""
    device_cores: str | None = None
    """Cores of a phone that may be used, as a hexadecimal mask for taskset, such as f0."""
    litert_python: str | None = None
    """Python that has litert-torch, which makes the files for runtime litert; this one by default."""
    threads: Positive = 1
    clock: Literal["cpu", "wall"] | None = None
    """cpu time of the one thread (default with one thread on a CPU that this program drives) or wall time."""
    seed: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that decode images; 0 decodes in the main process."""
    training_threads: Positive | None = None
    """CPU threads that train and judge networks; all cores when absent. Small networks are fastest with one."""
    training_device: str = "auto"
    """Where networks are trained: auto, cpu, cuda or mps."""
    supernet_from: str | None = None
    """Run directory whose trained supernet serves this run as well, such as one for another device. Its settings hold
    here too, where nothing else is said."""
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
            raise ValueError(f"runtime '{self.runtime}' computes beside the CPU: it takes clock 'wall' and one thread")
        return self

    @property
    def latency_clock(self) -> Literal["cpu", "wall"]:
        return self.clock or default_clock(self.device, [self.runtime], self.threads)
