"""Measuring whole networks side by side: the promise is about the file that will be shipped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.clock import Clock, check_clock
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.calm import MAX_REDONE_SHARE
from efficientformer.latency.timing.conditions import conditions_at
from efficientformer.latency.timing.measurement import Measurement, paired_ratio
from efficientformer.latency.timing.session import TimedSession
from efficientformer.latency.timing.timer import MIN_SAMPLE_MS, Progress
from efficientformer.provenance import provenance

ROUNDS = 60
MIN_ROUNDS = 40
"""With fewer rounds intervals are too wide to be useful."""
MAX_EXTENSION = 3
"""An undecided measurement is extended up to this multiple of its rounds by default."""
Decided = Callable[[Mapping[str, Measurement]], bool]


@dataclass(frozen=True)
class Subject:
    """A network to be measured, on inputs (B, C, H, W), and the runtime that `prepared` it."""

    prepared: Prepared
    runtime: Runtime
    input_shape: tuple[int, int, int, int]


def measure_networks(
    subjects: Mapping[str, Subject],
    clock: Clock,
    rounds: int = ROUNDS,
    *,
    reference: str | None = None,
    decided: Decided | None = None,
    most_rounds: int | None = None,
    most_redone: float = MAX_REDONE_SHARE,
    least_rounds: int = MIN_ROUNDS,
    partial_path: Path | None = None,
    min_sample_ms: float = MIN_SAMPLE_MS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Measurement]:
    """One `Measurement` per network, all timed in the same randomly interleaved rounds.

    Runtimes, shapes and devices may differ between networks; the number of threads may not. With `reference`, one of
    the names, each record has its ratio to that network: a change of the machine's speed changes milliseconds, but not
    ratios. Rounds in disturbed windows are taken again, up to the share `most_redone` of `rounds` (see `timing.calm`).
    While `decided`, called with the measurements, is false, the rounds are doubled, up to `most_rounds` (by default
    three times the rounds). Finished rounds are kept in `partial_path`; a later call with the same subjects continues
    from there. Raises LatencyError for a clock that does not fit the threads, UsageError for fewer than `least_rounds`.
    """
    threads = _common_threads(subjects)
    check_clock(clock, threads)
    check_rounds(rounds, least_rounds)
    if reference is not None and reference not in subjects:
        raise LatencyError(f"The reference {reference!r} is not among the networks: {', '.join(subjects)}.")
    origins = {name: provenance(subject.runtime.machine()) for name, subject in subjects.items()}
    session = TimedSession(
        {name: partial(_prepared, subject) for name, subject in subjects.items()},
        clock=clock,
        threads=threads,
        about=_about(subjects, origins, clock, min_sample_ms),
        partial_path=partial_path,
        seed=seed,
    )
    if "before" not in session.partial.notes:
        session.partial.note(before=_conditions(subjects))
    most_rounds = most_rounds or MAX_EXTENSION * rounds
    while True:
        session.take(rounds, min_sample_ms=min_sample_ms, most_redone=most_redone, progress=progress)
        measurements = _measurements(subjects, session, clock, reference, origins, rounds)
        if decided is None or decided(measurements) or rounds >= most_rounds:
            return measurements
        # Double the rounds instead of checking after each: repeated looks inflate false positives.
        rounds = min(2 * rounds, most_rounds)


def check_rounds(rounds: int, least: int = MIN_ROUNDS) -> None:
    """Raise UsageError unless there are enough rounds for an interval."""
    if rounds < least:
        raise UsageError(f"{rounds} rounds are too few for an interval; ask for {least} or more.")


def _measurements(
    subjects: Mapping[str, Subject],
    session: TimedSession,
    clock: Clock,
    reference: str | None,
    origins: Mapping[str, dict[str, Any]],
    rounds: int,
) -> dict[str, Measurement]:
    samples_ms, warm_up = session.partial.samples_ms(), session.warm_up
    disturbed_rounds, is_calm = tuple(session.disturbed_rounds), session.is_calm(rounds)
    quiet = session.medians().quiet
    before, after = session.partial.notes["before"], _conditions(subjects)
    return {
        name: Measurement(
            samples_ms=tuple(samples_ms[name]),
            clock=clock,
            warmup_runs=warm_up[name]["runs"],
            calls_per_sample=warm_up[name]["calls_per_sample"],
            runtime=subject.runtime.describe(),
            threads=subject.runtime.threads,
            batch_size=subject.input_shape[0],
            resolution=(subject.input_shape[2], subject.input_shape[3]),
            provenance=origins[name],
            ratio=None
            if reference is None
            else paired_ratio(samples_ms[name], samples_ms[reference], reference, quiet=quiet),
            disturbed_rounds=disturbed_rounds,
            is_quiet_median=quiet,
            is_calm=is_calm,
            has_settled=warm_up[name]["settled"],
            conditions={"before": before[name], "after": after[name]},
            memory_mib=getattr(subject.prepared, "memory_mib", None),
        )
        for name, subject in subjects.items()
    }


def _prepared(subject: Subject) -> Prepared:
    return subject.prepared


def _conditions(subjects: Mapping[str, Subject]) -> dict[str, dict[str, Any] | None]:
    """Conditions of each subject's device; each runtime is asked once."""
    runtimes = {id(subject.runtime): subject.runtime for subject in subjects.values()}
    conditions = {key: conditions_at(runtime) for key, runtime in runtimes.items()}
    return {name: conditions[id(subject.runtime)] for name, subject in subjects.items()}


def _common_threads(subjects: Mapping[str, Subject]) -> int:
    threads = {subject.runtime.threads for subject in subjects.values()}
    if len(threads) != 1:
        raise LatencyError(
            "Networks measured together must run with the same number of threads, "
            f"not {', '.join(map(str, sorted(threads))) or 'no networks at all'}. Measure each number separately."
        )
    return threads.pop()


def _about(subjects: Mapping[str, Subject], origins: Mapping[str, Any], clock: Clock, min_sample_ms: float) -> Any:
    """All that samples depend on."""
    return [
        clock,
        min_sample_ms,
        [
            [name, subject.runtime.describe(), subject.input_shape, origins[name]["machine"], origins[name]["versions"]]
            for name, subject in subjects.items()
        ],
    ]
