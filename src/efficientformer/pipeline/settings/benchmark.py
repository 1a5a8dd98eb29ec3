"""Settings of `benchmark`. The docstring of a setting is the help of its flag. No torch."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from efficientformer.analysis.comparison.network_source import DenseTaskName
from efficientformer.analysis.comparison.suites import SuiteName
from efficientformer.arch.resolution import Resolution, resolution_of
from efficientformer.formats.values import MAX_CLASSES
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, resolve_clock
from efficientformer.latency.timing.measure_networks import MIN_ROUNDS

OUT = Path("runs/benchmark")


def resolution_of_option(value: Any) -> Resolution | None:
    return None if value is None else resolution_of(value)


class HeadSizes(BaseModel, frozen=True, extra="forbid"):
    """The head of networks by name, with --task."""

    num_classes: Annotated[int | None, Field(ge=1, le=MAX_CLASSES)] = None
    """Classes of networks by name; 150 for masks and 80 for boxes, as ADE20K and COCO have."""
    fpn_width: int | None = None
    """Channels of its pyramid; 256 for masks, 96 for boxes."""
    width: int | None = None
    """Channels of its convolutions; 128 for masks, 96 for boxes."""
    depth: int | None = None
    """Convolutions of a branch, of boxes; 2."""


class BenchmarkSettings(DeviceOptions):
    """Suite, devices and timing of a comparison."""

    suite: SuiteName | None = None
    """Networks to compare first: those of the paper's Table 1, or recent mobile networks. With --task, paper: the
    EfficientFormers of its Table 2."""
    task: DenseTaskName | None = None
    """Compare task models, semantic or detection: networks by name with a head, and files of the task."""
    head: HeadSizes = HeadSizes()
    runtime: tuple[str, ...] = ("onnxruntime",)
    """Runtime to measure on; repeatable."""
    threads: int = 1
    """Threads of a call."""
    clock: Clock | None = None
    """Clock of the measurement; by default cpu for one thread on a CPU, else wall."""
    rounds: int = MIN_ROUNDS
    """Interleaved rounds, at least 40."""
    resolution: Annotated[Any, AfterValidator(resolution_of_option)] = None
    """Input size of all networks that support it; their own by default, 512 for networks by name with --task. A side in
    pixels, or height x width such as 96x160."""
    reference: str | None = None
    """Network that ratios are relative to; the suite's or the first by default."""

    @property
    def latency_clock(self) -> Clock:
        return resolve_clock(self.clock, self.device, self.runtime, self.threads)
