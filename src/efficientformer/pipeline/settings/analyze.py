"""Settings of `analyze`. The docstring of a setting is the help of its flag. No torch."""

from pathlib import Path

from efficientformer.analysis.observations.choices import ChoiceKey
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, resolve_clock

OUT = Path("runs/analysis")


class AnalysisSettings(DeviceOptions):
    """Networks, devices and timing of an analysis."""

    runtime: tuple[str, ...] = ("onnxruntime",)
    """Runtime to measure on; repeatable. All are timed in the same rounds."""
    threads: int = 1
    """Threads inside each operator."""
    clock: Clock | None = None
    """Clock of the measurement; by default cpu for one thread on a CPU, else wall."""
    resolution: int = 224
    """Size of the images in pixels, a multiple of 32."""
    rounds: int = 60
    """Interleaved timing rounds over all candidates of an observation, at least 40."""
    network: tuple[str, ...] = ("efficientformer_l1", "efficientformer_l3")
    """Published network to test each design choice of the observations in; repeatable."""
    observation: tuple[int, ...] = ()
    """Observation to test, 1 to 4; repeatable. All, unless observations or choices are named."""
    choice: tuple[ChoiceKey, ...] = ()
    """Choice of a search space to time; repeatable. All, unless observations or choices are named."""
    hotspots: bool = True
    """Break known networks down into classes of operators."""

    @property
    def latency_clock(self) -> Clock:
        return resolve_clock(self.clock, self.device, self.runtime, self.threads)
