"""One timed session: candidates are prepared, timed together until enough rounds are calm, and end as medians.

Every measurement is one, of the parts of a table as of whole networks. Rounds survive an interruption: a later session
of the same candidates continues from them, and prepares nothing if none is missing.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls, Prepared
from efficientformer.latency.timing.calm import MAX_REDONE_SHARE, calm_rounds, counted_rounds, num_missing
from efficientformer.latency.timing.partial import PartialRounds
from efficientformer.latency.timing.quiet import is_disturbed, latency_median, percentile_interval, resampled_medians
from efficientformer.latency.timing.timer import MIN_SAMPLE_MS, Progress, time_interleaved, warm_up

Prepare = Callable[[], Prepared]
LARGEST_SAMPLE_MS = (1.0, 5.0)
"""Limits of how long samples last where one call of the largest candidate decides it."""


class Medians:
    """Medians of candidates over samples (rounds, candidates), and the same over resampled rounds.

    They are of the quiet samples where `quiet`: other work on the machine disturbed CPU time (see `timing.quiet`).
    """

    def __init__(self, samples_ms: ArrayLike, clock: Clock) -> None:
        self._samples_ms = np.asarray(samples_ms, dtype=float)
        self.quiet = clock == "cpu" and is_disturbed(self._samples_ms)

    @property
    def num_rounds(self) -> int:
        return len(self._samples_ms)

    @cached_property
    def latencies_ms(self) -> np.ndarray:
        """(candidates,)"""
        return latency_median(self._samples_ms, quiet=self.quiet)

    @cached_property
    def resampled_ms(self) -> np.ndarray:
        """(resamples, candidates)"""
        return resampled_medians(self._samples_ms, quiet=self.quiet)

    @cached_property
    def intervals_ms(self) -> np.ndarray:
        """95 % intervals (candidates, 2)."""
        return percentile_interval(self.resampled_ms).T


class TimedSession:
    """Candidates by name, each with the function that prepares it, timed in the same randomly interleaved rounds.

    `about` is everything that samples depend on besides the names: rounds in `partial_path` about something else are
    discarded. Without a path, rounds live in memory only. `seed` draws the order of candidates in each round.
    """

    def __init__(
        self,
        candidates: Mapping[str, Prepare],
        *,
        clock: Clock,
        threads: int,
        about: Any,
        partial_path: Path | None = None,
        seed: int = 0,
    ) -> None:
        self._candidates = candidates
        self._clock: Clock = clock
        self._threads = threads
        self._seed = seed
        self.partial = PartialRounds(partial_path, about, list(candidates))

    def take(
        self,
        rounds: int,
        *,
        min_sample_ms: float = MIN_SAMPLE_MS,
        largest: str | None = None,
        most_redone: float = MAX_REDONE_SHARE,
        preparing: Progress | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Take rounds until `rounds` of them are calm, or a share `most_redone` of them was taken again.

        A sample lasts `min_sample_ms`, or one call of the candidate called `largest`, within limits. How many calls
        make a sample is decided before the first round and kept as the note "warm_up". What was prepared is released at
        the end. `preparing` and `progress` are called after every candidate prepared and after every round. Raises
        LatencyError on a clock that does not fit the threads.
        """
        if not num_missing(self.partial.rounds, rounds, most_redone):
            return
        prepared = self._prepare(preparing)
        if largest is not None:
            min_sample_ms = self._call_ms(prepared[largest])
        calls = self._warm_up(prepared, min_sample_ms)
        while missing := num_missing(self.partial.rounds, rounds, most_redone):
            first = len(self.partial.rounds)
            time_interleaved(
                prepared,
                rounds=first + missing,
                clock=self._clock,
                threads=self._threads,
                seed=self._seed,
                first_round=first,
                calls=calls,
                progress=progress,
                on_round=lambda _, samples_ms: self.partial.add(samples_ms),
            )

    @property
    def num_rounds(self) -> int:
        return len(self.partial.rounds)

    @property
    def disturbed_rounds(self) -> list[int]:
        """Indices of the rounds that count for no median."""
        return np.flatnonzero(~counted_rounds(self.partial.rounds)).tolist()

    def is_calm(self, rounds: int) -> bool:
        """Whether at least `rounds` of the rounds taken are calm."""
        return int(calm_rounds(self.partial.rounds).sum()) >= rounds

    def samples_ms(self) -> np.ndarray:
        """Samples (rounds, candidates) without the disturbed rounds."""
        samples_ms = np.asarray(self.partial.rounds, dtype=float)
        return samples_ms[counted_rounds(samples_ms)]

    def medians(self) -> Medians:
        """Of the rounds that count."""
        return Medians(self.samples_ms(), self._clock)

    @property
    def warm_up(self) -> dict[str, dict[str, Any]]:
        """{runs, settled, settling_calls, calls_per_sample} of each candidate before the first round."""
        return self.partial.notes["warm_up"]

    def _prepare(self, progress: Progress | None) -> dict[str, Prepared]:
        prepared: dict[str, Prepared] = {}
        total = len(self._candidates)
        for name, prepare in self._candidates.items():
            prepared[name] = prepare()
            if progress is not None:
                progress(len(prepared), total, f"prepared {len(prepared)} of {total}")
        return prepared

    def _call_ms(self, largest: Prepared) -> float:
        """How long a sample lasts: one call of the largest candidate, so that all meet disturbances alike."""
        shortest, longest = LARGEST_SAMPLE_MS
        calls_ms = time_interleaved(
            {"largest": largest}, rounds=3, clock=self._clock, threads=self._threads, min_sample_ms=0
        )["largest"]
        return min(longest, max(shortest, min(calls_ms)))

    def _warm_up(self, prepared: Mapping[str, Prepared], min_sample_ms: float) -> dict[str, Calls]:
        """Warm up; the calls of a sample are those that the first rounds had."""
        warm = warm_up(prepared, clock=self._clock, threads=self._threads, min_sample_ms=min_sample_ms)
        if "warm_up" not in self.partial.notes:
            self.partial.note(
                warm_up={
                    name: {
                        "runs": candidate.runs,
                        "settled": candidate.has_settled,
                        "settling_calls": candidate.calls.settling,
                        "calls_per_sample": candidate.calls.timed,
                    }
                    for name, candidate in warm.items()
                }
            )
        return {name: Calls(noted["settling_calls"], noted["calls_per_sample"]) for name, noted in self.warm_up.items()}
