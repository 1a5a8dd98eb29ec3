"""Settings of `benchmark`. The docstring of a setting is the help of its flag. No torch."""

from pathlib import Path

from efficientformer.analysis.comparison.suites import SuiteName
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, resolve_clock
from efficientformer.latency.timing.measure_networks import MIN_ROUNDS

OUT = Path("runs/benchmark")


class BenchmarkSettings(DeviceOptions):
    """Suite, devices and timing of a comparison."""

    suite: SuiteName | None = None
    """Networks to compare first: those of the paper's Table 1, or recent mobile networks."""
    runtime: tuple[str, ...] = ("onnxruntime",)
    """Runtime to measure on; repeatable."""
    threads: int = 1
    """Threads of a call."""
    clock: Clock | None = None
    """Clock of the measurement; by default cpu for one thread on a CPU, else wall."""
    rounds: int = MIN_ROUNDS
    """Interleaved rounds, at least 40."""
    resolution: int | None = None
    """Input size in pixels of all networks that support it; their own by default."""
    reference: str | None = None
    """Network that ratios are relative to; the suite's or the first by default."""

    @property
    def latency_clock(self) -> Clock:
        return resolve_clock(self.clock, self.device, self.runtime, self.threads)
