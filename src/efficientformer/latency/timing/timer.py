"""Timing that repeats on shared, noisy machines: random interleaving, and the clock that counts only our own work.

Every candidate is warmed up until its latency no longer changes. Then all are timed once in every round, in a new
random order, so that drift and bursts of other work affect all of them equally. Every sample is kept; which ones count
is decided later (`quiet`, `calm`).
"""

import contextlib
import gc
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from efficientformer.latency.clock import Clock, check_clock
from efficientformer.latency.prepared import NS_PER_MS, Calls, Prepared

Progress = Callable[[int, int, str], None]
WARMUP_RUNS = 3
"""Samples in a window of the warm-up."""
MAX_WARMUP_WINDOWS = 10
SETTLED = 1.05
"""Two windows agree when the fastest samples of both are within this ratio."""
MIN_SAMPLE_MS = 1.0
# Calls before each sample: weights come back into the caches over several calls, not one (measured behind a
# network of 120 MB: one of 2 ms was 11 to 13 % slower after one call than after sixteen, 1 to 5 % after four, 0 to 2 %
# after eight; networks of 8 ms and more were within about 1 % after four, of 22 ms after one).
MAX_SETTLING_CALLS = 8
SETTLING_MS = 40.0


@dataclass(frozen=True)
class WarmUp:
    """The calls of a candidate's samples, decided by a warm-up of `runs` calls.

    `has_settled` is false where latency was still changing at the end of the warm-up.
    """

    calls: Calls
    runs: int
    has_settled: bool


def time_interleaved(
    candidates: Mapping[str, Prepared],
    *,
    rounds: int,
    clock: Clock,
    threads: int = 1,
    seed: int = 0,
    min_sample_ms: float = MIN_SAMPLE_MS,
    first_round: int = 0,
    calls: Mapping[str, Calls] | None = None,
    progress: Progress | None = None,
    on_round: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, list[float]]:
    """Milliseconds per call, one sample per candidate and round, in order of rounds.

    Rounds `first_round` to `rounds` - 1 are run; round k always has the same random order. A sample repeats its call
    until it lasts `min_sample_ms`, after a few calls that are not timed. `calls` comes from `warm_up`, which is run
    here when it is left out. `on_round(k, samples)` is called after every round. Raises LatencyError on a clock that
    does not fit `threads`.
    """
    check_clock(clock, threads)
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    with gc_off_and_pinned(pinned=threads == 1):
        if calls is None:
            warm = warm_up(candidates, clock=clock, threads=threads, min_sample_ms=min_sample_ms)
            calls = {name: candidate.calls for name, candidate in warm.items()}
        for index in range(first_round, rounds):
            order = list(candidates)
            random.Random(f"{seed}/{index}").shuffle(order)
            taken = {name: candidates[name].sample(calls[name], clock) for name in order}
            for name, values in samples.items():
                values.append(taken[name])
            if on_round is not None:
                on_round(index, taken)
            if progress is not None:
                progress(index + 1, rounds, f"round {index + 1} of {rounds}")
    return samples


def warm_up(
    candidates: Mapping[str, Prepared],
    *,
    clock: Clock,
    threads: int = 1,
    min_sample_ms: float = MIN_SAMPLE_MS,
) -> dict[str, WarmUp]:
    """Call every candidate until two windows of calls in a row agree, and plan its samples from the fastest.

    First calls are slow (memory is allocated, code is compiled, the core speeds up); how many differs by runtime. A
    candidate that does not settle within `MAX_WARMUP_WINDOWS` is sampled anyway, and marked.
    """
    with gc_off_and_pinned(pinned=threads == 1):
        return {name: _warm_up(candidate, clock, min_sample_ms) for name, candidate in candidates.items()}


def _warm_up(candidate: Prepared, clock: Clock, min_sample_ms: float) -> WarmUp:
    fastest, before, runs, has_settled = candidate.sample(Calls(settling=0, timed=1), clock), math.inf, 1, False
    for _ in range(MAX_WARMUP_WINDOWS):
        timed = _calls_lasting(MIN_SAMPLE_MS, fastest)
        level = min(candidate.sample(Calls(settling=0, timed=timed), clock) for _ in range(WARMUP_RUNS))
        runs += WARMUP_RUNS * timed
        fastest = min(fastest, level)
        has_settled = max(level, before) <= SETTLED * min(level, before)
        if has_settled:
            break
        before = level
    settling = min(MAX_SETTLING_CALLS, _calls_lasting(SETTLING_MS, fastest))
    return WarmUp(Calls(settling, timed=_calls_lasting(min_sample_ms, fastest)), runs, has_settled)


def _calls_lasting(at_least_ms: float, call_ms: float) -> int:
    return max(1, math.ceil(at_least_ms / max(call_ms, 1 / NS_PER_MS)))


@contextlib.contextmanager
def gc_off_and_pinned(*, pinned: bool) -> Iterator[None]:
    """Turn garbage collection off and, if `pinned`, keep this thread on its core; both are restored at the end."""
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
    """Keep the calling thread on its current core; does nothing on systems without CPU affinity."""
    core = _current_core()
    allowed = os.sched_getaffinity(0) if core is not None else set()
    if core is not None:
        with contextlib.suppress(OSError):  # A container may forbid it: timing is then a little noisier.
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
