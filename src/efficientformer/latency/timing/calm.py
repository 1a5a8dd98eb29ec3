"""Rounds until enough of them were calm: every candidate is a sentinel, since all are timed again in every round.

A neighbor that slows this machine by a few percent for seconds slows every candidate, and no sample alone shows it. So
rounds are judged in windows by their pace, the median over the candidates of how each compares with its own median. A
window slower than the calmest one by more than `CALM` is disturbed: its samples stay in the record and count for no
median, and as many rounds are taken again at the end, up to half as many as were asked for. On a machine that hardly
ever is calm, a single lucky window would remain; there the calmest half of the rounds counts.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls, Prepared
from efficientformer.latency.timing.partial import PartialRounds
from efficientformer.latency.timing.timer import MIN_SAMPLE_MS, Progress, time_interleaved, warm_up

WINDOW = 8
"""Rounds that are judged together; those left over at the end belong to the last window."""
CALM = 1.03
MAX_REDONE_SHARE = 0.5


def calm_rounds(samples_ms: ArrayLike) -> np.ndarray:
    """Which rounds (rounds,) of samples (rounds, candidates) are in calm windows."""
    levels, window = _windows(samples_ms)
    return (levels <= CALM * levels.min())[window]


def counted_rounds(samples_ms: ArrayLike) -> np.ndarray:
    """Which rounds (rounds,) medians are taken of: calm ones, and the next calmest windows up to half of all rounds."""
    levels, window = _windows(samples_ms)
    counted = levels <= CALM * levels.min()
    for index in np.argsort(levels, kind="stable"):
        if 2 * counted[window].sum() >= len(window):
            break
        counted[index] = True
    return counted[window]


def counted_samples(samples_ms: ArrayLike) -> np.ndarray:
    """Those of samples (rounds, candidates) that medians are taken of."""
    return np.asarray(samples_ms, dtype=float)[counted_rounds(samples_ms)]


def _windows(samples_ms: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The pace of each window, and the window (rounds,) of each round."""
    samples = np.asarray(samples_ms, dtype=float)
    pace = np.median(samples / np.median(samples, axis=0), axis=1)
    num_windows = max(1, len(pace) // WINDOW)
    window = np.minimum(np.arange(len(pace)) // WINDOW, num_windows - 1)
    return np.array([np.median(pace[window == index]) for index in range(num_windows)]), window


def num_missing(samples_ms: Sequence[Sequence[float]], rounds: int, most_redone: float = MAX_REDONE_SHARE) -> int:
    """How many more rounds to take for `rounds` calm ones; none once a share of as many has been taken again."""
    if len(samples_ms) < rounds:
        return rounds - len(samples_ms)
    most = rounds + math.floor(most_redone * rounds)
    return max(0, min(rounds - int(calm_rounds(samples_ms).sum()), most - len(samples_ms)))


def time_until_calm(
    candidates: Mapping[str, Prepared],
    partial: PartialRounds,
    *,
    rounds: int,
    clock: Clock,
    threads: int,
    seed: int = 0,
    min_sample_ms: float = MIN_SAMPLE_MS,
    most_redone: float = MAX_REDONE_SHARE,
    progress: Progress | None = None,
) -> None:
    """Take rounds into `partial`, which may hold some, until `rounds` of them are calm or enough were taken again.

    How many calls make a sample is decided in front of the first round and noted under "warm_up". Raises LatencyError
    on a clock that does not fit `threads`.
    """
    if num_missing(partial.rounds, rounds, most_redone) == 0:
        return
    warm = warm_up(candidates, clock=clock, threads=threads, min_sample_ms=min_sample_ms)
    if "warm_up" not in partial.notes:
        partial.note(
            warm_up={
                name: {
                    "runs": candidate.runs,
                    "settled": candidate.settled,
                    "settling_calls": candidate.calls.settling,
                    "calls_per_sample": candidate.calls.timed,
                }
                for name, candidate in warm.items()
            }
        )
    noted = partial.notes["warm_up"]
    while missing := num_missing(partial.rounds, rounds, most_redone):
        first = len(partial.rounds)
        time_interleaved(
            candidates,
            rounds=first + missing,
            clock=clock,
            threads=threads,
            seed=seed,
            first_round=first,
            calls={name: Calls(noted[name]["settling_calls"], noted[name]["calls_per_sample"]) for name in candidates},
            progress=progress,
            on_round=lambda _, samples_ms: partial.add(samples_ms),
        )
