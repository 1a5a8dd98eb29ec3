"""Devices whose latency is known, to judge what is measured on them."""

import random
from dataclasses import dataclass

import numpy as np

from efficientformer.arch.parts import Part
from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls

CALL_MS = 0.02


class Machine:
    """A clock that runs only while candidates do; its speed drifts, switches between two modes, and has spikes."""

    def __init__(self, seed: int = 0) -> None:
        self.now_ns = 0
        self._random = random.Random(seed)
        self._mode, self._mode_ends_ns = 1.0, 0

    def candidate(self, latency_ms: float) -> "Candidate":
        return Candidate(self, latency_ms)

    def run(self, latency_ms: float) -> None:
        self.now_ns += round(1e6 * latency_ms * self._slowness())

    def _slowness(self) -> float:
        if self.now_ns >= self._mode_ends_ns:
            self._mode = self._random.choice((1.0, 1.4))
            self._mode_ends_ns = self.now_ns + round(1e6 * self._random.expovariate(1 / 60))
        drift = 1.0 + 0.02 * self.now_ns / 1e9
        spike = 3.0 if self._random.random() < 0.01 else 1.0
        return self._mode * drift * spike * self._random.gauss(1.0, 0.004)


@dataclass
class Candidate:
    """A network of known latency on a synthetic machine."""

    machine: Machine
    latency_ms: float
    num_calls: int = 0

    def sample(self, calls: Calls, clock: Clock) -> float:
        for _ in range(calls.settling):
            self.machine.run(self.latency_ms)
        start_ns = self.machine.now_ns
        for _ in range(calls.timed):
            self.machine.run(self.latency_ms)
        self.num_calls += calls.settling + calls.timed
        return (self.machine.now_ns - start_ns) / calls.timed / 1e6

    def output(self) -> np.ndarray:
        return np.zeros(1)


def part_latency_ms(part: Part) -> float:
    """A cost that is linear in each width, so that interpolation is exact."""
    rows, columns = part.grid
    base = {"stem": 0.05, "MB4D": 0.04, "MB3D": 0.09, "downsample": 0.02, "head": 0.003}.get(part.kind, 0.002)
    return base * (1 + 0.001 * rows * columns) + 1e-4 * part.width + 1e-6 * part.in_width * (part.kind == "downsample")


def chain_latency_ms(parts: list[Part] | tuple[Part, ...]) -> float:
    """What a device without caches and fusion takes for parts run in one call."""
    return CALL_MS + sum(map(part_latency_ms, parts))
