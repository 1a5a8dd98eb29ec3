"""Settings of `shortlist`. The docstring of a setting is the help of its flag. No torch."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, resolve_clock
from efficientformer.pipeline.settings.benchmark import resolution_of_option

OUT = Path("runs/shortlist")
ROUNDS = 20
"""Fewer than `benchmark` takes, for a list within minutes; budgets are held against the intervals, wider for it."""


class ShortlistSettings(DeviceOptions):
    """Budgets, device and timing of a shortlist."""

    budget: tuple[str, ...] = ()
    """Latency that a network must be within, such as 8ms; repeatable. None: the front alone."""
    runtime: str = "onnxruntime"
    """Runtime to measure on."""
    threads: int = 1
    """Threads of a call."""
    clock: Clock | None = None
    """Clock of the measurement; by default cpu for one thread on a CPU, else wall."""
    rounds: int = ROUNDS
    """Interleaved rounds, at least 20."""
    resolution: Annotated[Any, AfterValidator(resolution_of_option)] = None
    """Input size of all networks that support it; by default each network's own, at which its accuracy is published. A
    side in pixels, or height x width such as 96x160."""

    @property
    def latency_clock(self) -> Clock:
        return resolve_clock(self.clock, self.device, [self.runtime], self.threads)
