"""Timing that repeats on shared, noisy machines: random interleaving, and the clock that counts only our own work.

All candidates take their turn in every round, in a new random order, so that drift and bursts of other work meet all of
them alike. Every sample is kept; judging them is left to the reader of the samples.
"""

import contextlib
import gc
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from efficientformer.errors import LatencyError
from efficientformer.latency.measurement import Clock

Candidate = Callable[[], object]
Progress = Callable[[int, int, str], None]
WARMUP_RUNS = 3
MIN_SAMPLE_MS = 1.0
NS_PER_MS = 1e6

_CLOCKS: dict[str, Callable[[], int]] = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}


def check_clock(clock: str, threads: int) -> None:
    """Raise LatencyError for a clock that does not exist or does not fit the number of threads."""
    if clock not in _CLOCKS:
        raise LatencyError(f"There is no clock {clock!r}; the clocks are {' and '.join(sorted(_CLOCKS))}.")
    if clock == "cpu" and threads != 1:
        raise LatencyError(
            f"CPU time counts the calling thread only and says nothing about {threads} threads. "
            "Use the wall clock, or one thread."
        )


def time_interleaved(
    candidates: Mapping[str, Candidate],
    *,
    rounds: int,
    clock: Clock,
    threads: int = 1,
    seed: int = 0,
    min_sample_ms: float = MIN_SAMPLE_MS,
    first_round: int = 0,
    repeats: Mapping[str, int] | None = None,
    read_clock: Callable[[], int] | None = None,
    progress: Progress | None = None,
    on_round: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, list[float]]:
    """Milliseconds per call, one sample per candidate and round, in order of rounds.

    Rounds `first_round` to `rounds` - 1 are run; round k has the same random order whenever it is run. A sample repeats
    its call until it lasts `min_sample_ms`, behind one call that is not timed. `repeats` (calls per sample) comes from
    `warm_up`, which is run here when it is left out. `on_round(k, samples)` follows every round. `read_clock` replaces
    the clock (nanoseconds). Raises LatencyError on a clock that does not fit `threads`.
    """
    check_clock(clock, threads)
    read = read_clock or _CLOCKS[clock]
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    with _undisturbed(pinned=threads == 1):
        if repeats is None:
            repeats = warm_up(candidates, clock=clock, min_sample_ms=min_sample_ms, read_clock=read)
        for index in range(first_round, rounds):
            order = list(candidates)
            random.Random(f"{seed}/{index}").shuffle(order)
            taken = {name: _sample(candidates[name], repeats[name], read) for name in order}
            for name, values in samples.items():
                values.append(taken[name])
            if on_round is not None:
                on_round(index, taken)
            if progress is not None:
                progress(index + 1, rounds, f"round {index + 1} of {rounds}")
    return samples


def warm_up(
    candidates: Mapping[str, Candidate],
    *,
    clock: Clock,
    min_sample_ms: float = MIN_SAMPLE_MS,
    warmup_runs: int = WARMUP_RUNS,
    read_clock: Callable[[], int] | None = None,
) -> dict[str, int]:
    """Call every candidate `warmup_runs` times and say how many calls fill a sample of `min_sample_ms`."""
    read = read_clock or _CLOCKS[clock]
    repeats = {}
    for name, call in candidates.items():
        fastest = min(_sample(call, 1, read) for _ in range(warmup_runs))
        repeats[name] = max(1, math.ceil(min_sample_ms / max(fastest, 1 / NS_PER_MS)))
    return repeats


def _sample(call: Candidate, repeats: int, read: Callable[[], int]) -> float:
    call()
    start = read()
    for _ in range(repeats):
        call()
    return (read() - start) / repeats / NS_PER_MS


@contextlib.contextmanager
def _undisturbed(*, pinned: bool) -> Iterator[None]:
    """No garbage collection, and, for one thread, no moves between cores; both as before afterwards."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _pinned_to_current_core() if pinned else contextlib.nullcontext():
            yield
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _pinned_to_current_core() -> Iterator[None]:
    """Keep the calling thread on the core where it is now; on systems without affinity, nothing happens."""
    core = _current_core()
    allowed = os.sched_getaffinity(0) if core is not None else set()
    if core is not None:
        with contextlib.suppress(OSError):  # A container may forbid it: timing goes on, a little less quiet.
            os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        if core is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, allowed)


def _current_core() -> int | None:
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        after_name = Path("/proc/thread-self/stat").read_text(encoding="utf-8").rpartition(")")[2]
        core = int(after_name.split()[36])
    except (OSError, IndexError, ValueError):
        return None
    return core if core in os.sched_getaffinity(0) else None
