"""Timing and profiling in turns: a profiler slows a network down, so its total is timed without it, at the same time.

Profilers read the wall clock. On a busy machine every whole call is disturbed somewhere, but each operator is
undisturbed in some calls: so each operator's time is the quiet median of its own samples, and their sum falls a few
percent short of the total.
"""

from collections.abc import Callable

import numpy as np

from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import InProcess, Prepared
from efficientformer.latency.timing.quiet import quiet_median
from efficientformer.latency.timing.timer import time_interleaved

TURNS = 5


def time_in_turns(network: Prepared, profile_turn: Callable[[int], None], threads: int, rounds: int) -> float:
    """Milliseconds per call of `network`, timed before every `profile_turn(rounds)`. At least one round per turn."""
    clock: Clock = "cpu" if threads == 1 else "wall"
    rounds = max(1, rounds // TURNS)
    samples: list[float] = []
    for _ in range(TURNS):
        samples += time_interleaved({"network": network}, rounds=rounds, clock=clock, threads=threads)["network"]
        profile_turn(rounds)
    return float(quiet_median(np.asarray(samples)))


def run_profiled(run: Callable[[], object], threads: int, rounds: int) -> None:
    """Call a network that its profiler watches, warmed up, pinned and without garbage collection, as when it is
    timed."""
    time_interleaved({"profiled": InProcess(run)}, rounds=rounds, clock="wall", threads=threads, min_sample_ms=0.0)
