"""Devices whose latency is known, to judge what is measured on them, and records of samples that nobody measured."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import Part
from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.latency.timing.session import TimedSession

CALL_MS = 0.02


DISTURBANCES = ("drift", "modes", "spikes", "steps", "tails")
NOISE = 0.004
STEP_MS = 1000.0


class Machine:
    """A clock that runs only while candidates do, at a speed that suffers from the disturbances named.

    "drift" slows it steadily; "modes" switch between two speeds within a round; "steps" move it to another level for
    many rounds; "spikes" triple single calls; "tails" add to each call from a Pareto distribution without variance.
    Candidates that are opened anew differ by a factor of standard deviation `between`, for as long as they are open.
    """

    def __init__(self, seed: int = 0, *disturbances: str, noise: float = NOISE, between: float = 0.0) -> None:
        assert set(disturbances) <= set(DISTURBANCES)
        self.now_ns = 0
        self._disturbances = disturbances
        self._random = random.Random(seed)
        self._noise, self._between = noise, between
        self._mode, self._mode_ends_ms = 1.0, 0.0
        self._step, self._step_ends_ms = 1.0, self._random.expovariate(1 / STEP_MS)

    def candidate(self, latency_ms: float) -> "Candidate":
        factor = math.exp(self._random.gauss(0.0, self._between)) if self._between else 1.0
        return Candidate(self, latency_ms * factor)

    def run(self, latency_ms: float, num_calls: int) -> None:
        self.now_ns += round(1e6 * latency_ms * num_calls * self._slowness() * self._mean_noise(num_calls))

    def _slowness(self) -> float:
        now_ms, slowness = self.now_ns / 1e6, 1.0
        if "drift" in self._disturbances:
            slowness += 0.02 * now_ms / 1e3
        if "modes" in self._disturbances:
            if now_ms >= self._mode_ends_ms:
                self._mode = self._random.choice((1.0, 1.4))
                self._mode_ends_ms = now_ms + self._random.expovariate(1 / 60)
            slowness *= self._mode
        if "steps" in self._disturbances:
            if now_ms >= self._step_ends_ms:
                self._step = self._random.choice((1.0, 1.0, 1.04, 1.08))
                self._step_ends_ms = now_ms + self._random.expovariate(1 / STEP_MS)
            slowness *= self._step
        return slowness

    def _mean_noise(self, num_calls: int) -> float:
        noise = self._random.gauss(1.0, self._noise / num_calls**0.5)
        if "spikes" in self._disturbances:
            noise += 2.0 * sum(self._random.random() < 0.01 for _ in range(num_calls)) / num_calls
        if "tails" in self._disturbances:
            noise += 0.01 * sum(self._random.paretovariate(1.5) - 1 for _ in range(num_calls)) / num_calls
        return noise


@dataclass
class Candidate:
    """A network of known latency on a synthetic machine."""

    machine: Machine
    latency_ms: float
    num_calls: int = 0

    def sample(self, calls: Calls, clock: Clock) -> float:
        if calls.settling:
            self.machine.run(self.latency_ms, calls.settling)
        start_ns = self.machine.now_ns
        self.machine.run(self.latency_ms, calls.timed)
        self.num_calls += calls.settling + calls.timed
        return (self.machine.now_ns - start_ns) / calls.timed / 1e6

    def output(self) -> np.ndarray:
        return np.zeros(1)


@dataclass(frozen=True)
class Device:
    """A runtime that candidates of a machine may be said to run on."""

    name: str = "synthetic"
    threads: int = 1
    suffixes: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "version": "1", "compute_unit": "none", "precision": "fp32", "options": {}}

    def machine(self) -> dict[str, Any]:
        return {"cpu": self.name, "cores": 1, "os": "none", "memory_gib": None, "python": "3"}

    def prepare(self, module: Any, input_shape: tuple[int, ...]) -> Candidate:
        raise NotImplementedError

    def open(self, path: Path, input_shape: tuple[int, ...]) -> Candidate:
        raise NotImplementedError


CONSTANT_MS = {
    "stem": 0.05,
    "MB4D": 0.04,
    "MB3D": 0.09,
    "FFN": 0.03,
    "MHSA": 0.08,
    "downsample": 0.02,
    "attention_downsample": 0.07,
    "head": 0.003,
}


def part_latency_ms(part: Part) -> float:
    """A constant and so much per MAC, so that interpolation is exact."""
    rows, columns = part.grid
    base = CONSTANT_MS.get(part.kind, 0.002)
    return base * (1 + 0.001 * rows * columns) + 3e-9 * part_cost(part).macs + 1e-5 * part.width * (base < 0.02)


def chain_latency_ms(parts: list[Part] | tuple[Part, ...]) -> float:
    """What a device without caches and fusion takes for parts run in one call."""
    return CALL_MS + sum(map(part_latency_ms, parts))


def measurement_of(samples_ms: Sequence[float], **changes: Any) -> Measurement:
    """A record of these samples, as if ONNX Runtime had been measured; `changes` are of its other fields."""
    values: dict[str, Any] = {
        "clock": "cpu",
        "warmup_runs": 3,
        "calls_per_sample": 2,
        "runtime": {"name": "onnxruntime"},
        "threads": 1,
        "batch_size": 1,
        "resolution": (28, 28),
        "provenance": {"machine": {"cpu": "A"}},
    }
    return Measurement(tuple(samples_ms), **{**values, **changes})


def measurements_of(session: TimedSession) -> dict[str, Measurement]:
    """Records of the candidates of a finished session."""
    disturbed, quiet = session.disturbed_rounds, session.medians().quiet
    return {
        name: measurement_of(samples_ms, disturbed_rounds=disturbed, is_quiet_median=quiet)
        for name, samples_ms in session.partial.samples_ms().items()
    }
