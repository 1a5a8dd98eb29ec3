"""Time any networks on any runtimes, in the same randomly interleaved rounds.

A network that a runtime cannot convert or run, or whose output is wrong there, is listed with the reason; the others
continue. Ratios compare networks on the same runtime, over samples of the same rounds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from efficientformer.analysis.comparison.compared_network import TOLERANCE, ComparedNetwork
from efficientformer.errors import LatencyError
from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls, Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.measure_networks import MIN_ROUNDS, Subject, measure_networks
from efficientformer.latency.timing.measurement import Measurement, Ratio
from efficientformer.latency.timing.timer import Progress

SLOW_MS = 25.0
"""From this latency on, one warm-up call is enough: for networks of 30 to 105 ms, zero, one and two warm-up calls gave
the same medians within 1 %, in 25 interleaved rounds."""

Key = tuple[str, str]
"""(network, runtime), by name."""


@dataclass(frozen=True)
class OutputCheck:
    """Largest difference from the expected output: absolute, and in standard deviations of the expected output, of
    which `tolerance` are accepted."""

    max_abs_difference: float
    relative_difference: float
    tolerance: float = TOLERANCE

    @property
    def problem(self) -> str | None:
        if self.relative_difference <= self.tolerance:
            return None
        return (
            f"wrong output: it differs by {self.relative_difference:.2g} standard deviations of the logits "
            f"(limit {self.tolerance:g})"
        )


@dataclass
class Comparison:
    """Results of each network on each runtime; `problems` has the reason if a measurement is missing or invalid."""

    checks: dict[Key, OutputCheck] = field(default_factory=dict)
    measurements: dict[Key, Measurement] = field(default_factory=dict)
    problems: dict[Key, str] = field(default_factory=dict)

    def usable(self) -> set[Key]:
        """The networks on runtimes that were measured and whose output is right."""
        return self.measurements.keys() - self.problems.keys()

    def ratio(self, network: str, reference: str, runtime: str) -> Ratio | None:
        """Latency of a network over that of another on the same runtime; None if one of them is not usable."""
        keys = [(network, runtime), (reference, runtime)]
        if not self.usable().issuperset(keys):
            return None
        ours, theirs = (self.measurements[key] for key in keys)
        return ours.ratio_to(theirs, reference)


def check_output(output: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> OutputCheck:
    """Compare an output with the expected one. Wrong shapes and values that are not finite count as infinitely far."""
    output, expected = np.asarray(output, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if output.shape != expected.shape or not np.isfinite(output).all():
        return OutputCheck(float("inf"), float("inf"), tolerance)
    difference = float(np.abs(output - expected).max())
    spread = float(expected.std())
    return OutputCheck(difference, difference / spread if spread > 0 else float("inf"), tolerance)


def compare(
    networks: Sequence[ComparedNetwork],
    runtimes: Sequence[Runtime],
    *,
    clock: Clock,
    rounds: int,
    least_rounds: int = MIN_ROUNDS,
    partial_path: Path | None = None,
    seed: int = 0,
    opening: Progress | None = None,
    measuring: Progress | None = None,
) -> Comparison:
    """Open every network on every runtime, check its output, and time all of them together.

    networks: what to compare.
    runtimes: where to time each of them.
    clock: wall clock or CPU time of the thread.
    rounds: number of interleaved rounds, at least `least_rounds`.
    partial_path: file that keeps finished rounds; a later call with the same arguments resumes from them.
    seed: of the random order in each round.
    opening, measuring: report progress as (done, total, text).

    Raises LatencyError when none of the networks can be measured.
    """
    comparison = Comparison()
    subjects: dict[Key, Subject] = {}
    total = len(networks) * len(runtimes)
    for network in networks:
        for runtime in runtimes:
            _open(network, runtime, subjects, comparison)
            if opening is not None:
                done = len(subjects) + len(comparison.problems.keys() - subjects.keys())
                opening(done, total, f"{network.source.name} on {runtime.name}")
    while subjects:
        try:
            measured = measure_networks(
                {" on ".join(key): subject for key, subject in subjects.items()},
                clock,
                rounds,
                least_rounds=least_rounds,
                partial_path=partial_path,
                seed=seed,
                progress=measuring,
            )
        except _DiedError as error:
            _go_on_without(error, networks, runtimes, subjects, comparison)
            continue
        comparison.measurements = {key: measured[" on ".join(key)] for key in subjects}
        return comparison
    raise LatencyError(f"None of the networks can be measured. {_first_problem(comparison.problems)}")


class _DiedError(LatencyError):
    """A network failed while it was timed."""

    def __init__(self, key: Key, reason: str) -> None:
        super().__init__(reason)
        self.key = key


class _Watched:
    """A prepared network whose errors name it, and which needs fewer warm-up calls if it is slow."""

    def __init__(self, key: Key, prepared: Prepared) -> None:
        self._key, self._prepared = key, prepared
        self._fastest_ms = math.inf

    def sample(self, calls: Calls, clock: Clock) -> float:
        if SLOW_MS <= self._fastest_ms < math.inf:
            calls = Calls(min(calls.settling, 1), calls.timed)
        try:
            latency_ms = self._prepared.sample(calls, clock)
        except LatencyError as error:
            raise _DiedError(self._key, str(error)) from error
        self._fastest_ms = min(self._fastest_ms, latency_ms)
        return latency_ms

    def output(self) -> np.ndarray:
        return self._prepared.output()

    @property
    def memory_mib(self) -> float | None:
        return getattr(self._prepared, "memory_mib", None)


def _open(network: ComparedNetwork, runtime: Runtime, subjects: dict[Key, Subject], comparison: Comparison) -> None:
    """Prepare a network on a runtime, or record why that is impossible."""
    key = (network.source.name, runtime.name)
    try:
        if network.path.suffix in runtime.suffixes:
            prepared = runtime.open(network.path, network.input_shape)
        else:
            prepared = runtime.prepare(network.module(), network.input_shape)
    except LatencyError as error:
        comparison.problems[key] = str(error)
        return
    try:
        comparison.checks[key] = check = check_output(
            network.compared(prepared.output()), network.logits, network.tolerance
        )
        if check.problem is not None:
            comparison.problems[key] = ". ".join(filter(None, [check.problem, network.remedy]))
    except LatencyError:
        pass  # Benchmark programs return no outputs; a network that failed will fail again when it is timed.
    subjects[key] = Subject(_Watched(key, prepared), runtime, network.input_shape)


def _go_on_without(
    error: _DiedError,
    networks: Sequence[ComparedNetwork],
    runtimes: Sequence[Runtime],
    subjects: dict[Key, Subject],
    comparison: Comparison,
) -> None:
    """Remove the network that failed, and reopen the others of its runtime: they may have shared its process."""
    del subjects[error.key]
    comparison.checks.pop(error.key, None)
    comparison.problems[error.key] = str(error)
    _, runtime_name = error.key
    runtime = next(runtime for runtime in runtimes if runtime.name == runtime_name)
    for network in networks:
        key = (network.source.name, runtime_name)
        if key in subjects:
            del subjects[key]
            _open(network, runtime, subjects, comparison)


def _first_problem(problems: Mapping[Key, str]) -> str:
    (network, runtime), reason = next(iter(problems.items()))
    return f"The first of {len(problems)} problems, {network} on {runtime}: {reason}"
