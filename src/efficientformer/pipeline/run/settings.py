"""Every setting of a run, validated. The first sentence of a docstring is the help of its flag."""

from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from efficientformer.arch.resolution import Resolution, resolution_of
from efficientformer.arch.spaces import SPACES
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, counts_own_time, resolve_clock
from efficientformer.latency.runtime import ACCELERATORS, RuntimeName
from efficientformer.latency.timing.measurement import Percentile
from efficientformer.pipeline.settings.group import Positive, SettingsGroup, Texts
from efficientformer.pipeline.settings.images import (
    DetectionSettings,
    ImageSettings,
    InstanceSettings,
    SemanticSettings,
)
from efficientformer.pipeline.settings.search import (
    BaselineSettings,
    LimitSettings,
    RankSettings,
    SlimSettings,
    TableSettings,
)
from efficientformer.pipeline.settings.teacher import OrNone
from efficientformer.pipeline.settings.training import FINER, ParentSettings, SupernetSettings, TrainSettings
from efficientformer.training.trackers.open import TrackerName


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


class ExportSettings(SettingsGroup):
    """Files of the trained networks."""

    autotune: bool = True
    """Measure equivalent forms, write the fastest."""
    dynamic_batch: bool = False
    """Write files that take any batch size. Rather than one image, for which runtimes plan better."""


class VerifySettings(SettingsGroup):
    """Measurement of the exported files."""

    rounds: Annotated[int, Field(ge=40)] = 100
    """Timing rounds over the exported files."""


class Settings(ImageSettings, DeviceOptions, SettingsGroup):
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
    track: TrackerName | None = None
    """Curves go to. By default TensorBoard, where its package is installed; metrics.jsonl has them in any case."""
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


FINER_DEFAULTS: dict[str, Any] = {
    name: attrgetter(name)(Settings())
    for group in ("supernet", "parent", "train")
    for name in leaves(group)
    if name.rpartition(".")[2] in FINER
}
"""By dotted name, the defaults of the settings in `FINER`."""
