"""The record of one timing: all samples, the device, the runtime and the protocol. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np

from efficientformer.errors import LatencyError, RecordError
from efficientformer.latency.clock import Clock, check_one_clock
from efficientformer.latency.timing.quiet import (
    median_interval,
    percentile_interval,
    quiet_limit,
    quiet_median,
    quiet_pairs,
    resampled_medians,
    resampled_rounds,
)

Percentile = Literal["p50", "p90"]
FIGURES = ("p50_ms", "quiet_p50_ms", "calm_p50_ms", "p90_ms", "p99_ms", "mean_ms", "all_p50_ms")


@dataclass(frozen=True)
class Ratio:
    """Latency divided by that of a reference timed in the same rounds, with its 95 % interval.

    A change of the machine's speed affects both, so ratios are more precise than milliseconds.
    """

    reference: str
    p50: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Measurement:
    """Latency of one network, in milliseconds per call, in one session: a process that opened it once.

    Its intervals are of this session; another process may be outside of them (see `timing.repeated`).

    `samples_ms` has one value per round, the mean over `calls_per_sample` calls; none is left out. `disturbed_rounds`
    are those of windows in which the machine was slower (see `timing.calm`); they were taken again, and `is_calm` is
    whether the number of calm rounds asked for was reached. `p50_ms` is the median of the other rounds: `calm_p50_ms`,
    of all their samples, or, if `is_quiet_median`, `quiet_p50_ms`, of those that no neighbor on the machine slowed down
    (see `timing.quiet`). `disturbed_percent` is the share of all samples that do not count for it; `mean_ms`, `p90_ms`,
    `p99_ms` and `all_p50_ms` are over all samples. `clock` is
    "cpu" (time that the one thread computed) or "wall", `resolution` is (height, width), `runtime` is the value of
    `Runtime.describe`, and `provenance` names the machine, its load, the versions and the time.

    `warmup_runs` calls came before the first sample; `has_settled` is false where latency still changed after them.
    `conditions` has those of the device {"before", "after"} (see `timing.conditions`), each None where they are
    unknown. `memory_mib` is the growth of the worker process's memory when it opened the network and ran it once; None
    for networks in a process that does other work too.
    """

    samples_ms: tuple[float, ...]
    clock: Clock
    warmup_runs: int
    calls_per_sample: int
    runtime: dict[str, Any]
    threads: int
    batch_size: int
    resolution: tuple[int, int]
    provenance: dict[str, Any]
    ratio: Ratio | None = None
    disturbed_rounds: tuple[int, ...] = ()
    is_quiet_median: bool = True
    is_calm: bool = True
    has_settled: bool = True
    conditions: dict[str, Any] = field(default_factory=dict)
    memory_mib: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples_ms", tuple(round(float(value), 6) for value in self.samples_ms))
        object.__setattr__(self, "resolution", tuple(self.resolution))
        object.__setattr__(self, "disturbed_rounds", tuple(self.disturbed_rounds))
        if not self.samples_ms:
            raise LatencyError("A measurement needs at least one sample; raise the number of rounds.")
        assert len(self.disturbed_rounds) < len(self.samples_ms)

    @property
    def timed_runs(self) -> int:
        return len(self.samples_ms)

    @property
    def calm_samples_ms(self) -> np.ndarray:
        """Samples (rounds,) of all but the disturbed rounds."""
        return np.delete(np.asarray(self.samples_ms), list(self.disturbed_rounds))

    @property
    def p50_ms(self) -> float:
        return self.quiet_p50_ms if self.is_quiet_median else self.calm_p50_ms

    @property
    def quiet_p50_ms(self) -> float:
        return float(quiet_median(self.calm_samples_ms))

    @property
    def calm_p50_ms(self) -> float:
        return float(np.median(self.calm_samples_ms))

    @cached_property
    def interval_ms(self) -> tuple[float, float]:
        """95 % interval of `p50_ms`."""
        low, high = percentile_interval(resampled_medians(self.calm_samples_ms, quiet=self.is_quiet_median))
        return float(low), float(high)

    @cached_property
    def p90_interval_ms(self) -> tuple[float, float]:
        """95 % interval of `p90_ms`."""
        samples = np.asarray(self.samples_ms)
        low, high = percentile_interval(_percentile(samples[resampled_rounds(len(samples))], 90, axis=1))
        return float(low), float(high)

    def at(self, percentile: Percentile) -> tuple[float, tuple[float, float]]:
        """`p50_ms` or `p90_ms`, with its interval."""
        if percentile == "p50":
            return self.p50_ms, self.interval_ms
        return self.p90_ms, self.p90_interval_ms

    @property
    def disturbed_percent(self) -> float:
        if not self.is_quiet_median:
            return 100.0 * len(self.disturbed_rounds) / len(self.samples_ms)
        return float(100.0 * np.mean(np.asarray(self.samples_ms) > quiet_limit(self.calm_samples_ms)))

    @property
    def all_p50_ms(self) -> float:
        return float(np.percentile(self.samples_ms, 50))

    @property
    def p90_ms(self) -> float:
        return float(_percentile(self.samples_ms, 90))

    @property
    def p99_ms(self) -> float:
        return float(_percentile(self.samples_ms, 99))

    @property
    def mean_ms(self) -> float:
        return float(np.mean(self.samples_ms))

    def ratio_to(self, reference: "Measurement", name: str) -> Ratio:
        """Ratio to a network timed in the same rounds. Raises LatencyError where clocks or rounds differ."""
        check_one_clock(self.clock, reference.clock)
        if self.timed_runs != reference.timed_runs:
            raise LatencyError(
                f"{self.timed_runs} rounds cannot be paired with {reference.timed_runs} rounds of {name}. "
                "Measure the two in the same rounds."
            )
        return paired_ratio(self.samples_ms, reference.samples_ms, name, quiet=self.is_quiet_median)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value: the fields, and for readers of the file the figures that follow from the samples."""
        ratio = self.ratio
        figures = {name: getattr(self, name) for name in FIGURES}
        return {
            **{_json_name(field.name): getattr(self, field.name) for field in fields(self)},
            "samples_ms": list(self.samples_ms),
            "resolution": list(self.resolution),
            "disturbed_rounds": list(self.disturbed_rounds),
            "ratio": ratio and {"reference": ratio.reference, "p50": ratio.p50, "interval": list(ratio.interval)},
            "timed_runs": self.timed_runs,
            **{name: round(value, 6) for name, value in figures.items()},
            "interval_ms": [round(value, 6) for value in self.interval_ms],
            "disturbed_percent": round(self.disturbed_percent, 1),
        }

    @classmethod
    def from_json(cls, content: Any) -> "Measurement":
        """Inverse of `to_json`; the figures are computed from the samples again. Raises RecordError."""
        try:
            values = {field.name: content[_json_name(field.name)] for field in fields(cls)}
            ratio = values["ratio"]
            if ratio is not None:
                values["ratio"] = Ratio(ratio["reference"], ratio["p50"], tuple(ratio["interval"]))
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"Not a measurement: {error!r}. Measure again.") from error


def _percentile(samples: Sequence[float] | np.ndarray, percent: float, axis: int | None = None) -> np.ndarray:
    """Unbiased whatever the number of samples: by numpy's default, the 90th percentile of 17 is their 86th."""
    return np.percentile(samples, percent, axis=axis, method="median_unbiased")


def _json_name(field_name: str) -> str:
    """Records have the same keys as ever."""
    return {"is_calm": "calm", "has_settled": "settled", "is_quiet_median": "quiet_median"}.get(field_name, field_name)


def interval_holds(interval_ms: tuple[float, float], limit_ms: float) -> bool:
    """Whether the limit lies inside the interval, so that it is open on which side the network is."""
    low, high = interval_ms
    return low <= limit_ms < high


def paired_ratio(
    samples_ms: Sequence[float], reference_ms: Sequence[float], reference: str, *, quiet: bool = True
) -> Ratio:
    """Ratio of two candidates timed in the same rounds; both lists have one value per round.

    It is the median of the ratios within rounds, if `quiet` over the rounds that are quiet for both.
    """
    ours, theirs = np.asarray(samples_ms), np.asarray(reference_ms)
    pairs = quiet_pairs(ours, theirs) if quiet else slice(None)
    ratios = ours[pairs] / theirs[pairs]
    return Ratio(reference, float(np.median(ratios)), median_interval(ratios))
