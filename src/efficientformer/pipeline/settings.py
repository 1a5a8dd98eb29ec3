"""Every setting of a run, checked when it is made; presets are recipes written down as such values.

A setting comes from the command line, else from a YAML file, else from the run directory's memory, else from the
preset. Unknown names and wrong types are refused.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from efficientformer.errors import UsageError
from efficientformer.latency.devices import default_clock
from efficientformer.latency.runtime import ACCELERATORS, RuntimeName
from efficientformer.search.actions import ActionSet
from efficientformer.search.word import Judge

PresetName = Literal["quick", "standard", "imagenet", "fine_tune"]
Augmentation = Literal["light", "standard", "strong"]
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
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: weights stay in single precision, most products are taken in bfloat16; for GPUs and CPUs that have it."""


class SupernetSettings(TrainingSettings):
    """Training of the supernet of MetaPaths."""

    epochs: Positive = 8
    alpha_lr: PositiveFloat = 1e-2
    """Peak learning rate of the path logits."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (1.0, 0.2)
    """Gumbel-softmax temperature at the first and at the last step; geometric in between."""
    noise: Literal["uniform", "gumbel", "none"] = "uniform"
    """Added to the logits of paths. uniform: from 0 to 1 (the paper); where one path is sampled, one that lies far
    behind is never drawn again. gumbel: of any size, which draws paths by their probabilities."""
    sampling: Literal["soft", "single", "even"] = "soft"
    """soft: every candidate, mixed (the paper). single: one path with a straight-through gradient, sampled by the noisy
    logits. even: one path with that gradient, each drawn as often whatever the logits say; no noise, no temperature."""
    elastic_width: Literal["none", "random", "sandwich"] = "random"
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
    judge: Judge = "likelihood"
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


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "training_threads": 1,
        "supernet": {"sampling": "even", "noise": "gumbel"},
        "slim": {"bn_images": 0, "actions": "every", "polish": 64},
        "verify": {"rounds": 200},
    },
    "standard": {
        "resolution": 128,
        "space": "standard",
        "workers": 2,
        "supernet": {"epochs": 40, "sampling": "even", "noise": "gumbel", "augmentation": "standard"},
        "slim": {"bn_images": 0, "actions": "every", "stride": 0.1, "polish": 64},
        "train": {
            "epochs": 100,
            "lr_warmup_epochs": 5.0,
            "augmentation": "standard",
            "mixup": 0.2,
            "cutmix": 0.2,
            "ema_decay": 0.999,
            "evaluate_every": 10,
        },
    },
    "imagenet": {
        "resolution": 224,
        "space": "imagenet",
        "workers": 8,
        "supernet": {"epochs": 300, "batch_size": 256, "lr": 1e-3, "lr_warmup_epochs": 5.0, "augmentation": "strong"},
        "slim": {"images": 10000, "bn_images": 2048, "judge": "top1"},
        "train": {
            "epochs": 300,
            "batch_size": 256,
            "lr": 1e-3,
            "lr_warmup_epochs": 5.0,
            "augmentation": "strong",
            "mixup": 0.8,
            "cutmix": 1.0,
            "ema_decay": 0.9999,
            "evaluate_every": 10,
        },
    },
    "fine_tune": {
        "resolution": 224,
        "space": "imagenet",
        "workers": 2,
        "train": {
            "epochs": 20,
            "lr": 5e-4,
            "layer_decay": 0.75,
            "frozen_epochs": 1.0,
            "augmentation": "standard",
            "ema_decay": 0.999,
        },
    },
}


def merge_given(*layers: dict[str, Any]) -> dict[str, Any]:
    """Given values of all layers, later layers winning."""
    given: dict[str, Any] = {}
    for layer in layers:
        given = _merge(given, layer)
    return given


def resolve_settings(given: dict[str, Any]) -> Settings:
    """Given values on top of the preset they name.

    Without a preset, `quick` serves the shipped sample and `standard` a folder of images. Raises UsageError.
    """
    preset = given.get("preset") or ("standard" if given.get("data") else "quick")
    if preset not in PRESETS:
        raise UsageError(f"Unknown preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    values = _merge(PRESETS[preset], {**given, "preset": preset})
    if preset == "quick" and values.get("data") and "resolution" not in values:
        values["resolution"] = 64
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(unusable(error)) from error


def unusable(error: ValidationError) -> str:
    """What is wrong with settings, each by its name as it is written in a file."""
    problems = []
    for found in error.errors():
        name, message = ".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")
        problems.append(f"{name}: {message}" if name else message)
    return f"Settings that cannot be used: {'; '.join(problems)}."


def read_yaml(path: Path) -> dict[str, Any]:
    """Given values from a YAML file. Raises UsageError when it is not a mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"--config {path} does not exist.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--config {path} is not readable YAML: {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"--config {path} must hold names and values, such as 'train: {{epochs: 30}}'.")
    return content


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if nested else value
    return merged
