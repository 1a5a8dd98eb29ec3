"""The record of one timing: every sample, and where, how and on what it was taken. No torch."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from efficientformer.errors import LatencyError, RecordError
from efficientformer.latency.clock import Clock
from efficientformer.latency.quiet import percentile_interval, quiet_limit, quiet_median, resampled_quiet_medians


@dataclass(frozen=True)
class Ratio:
    """`p50_ms` over that of a reference timed in the same rounds, with its 95 % interval.

    A change of the machine's speed meets both, so a ratio stays narrow where milliseconds move.
    """

    reference: str
    p50: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Measurement:
    """Latency of one network, in milliseconds per call.

    `samples_ms` has one value per round, the mean over `calls_per_sample` calls; none is left out. `p50_ms` is the
    median of the quiet samples, those that no neighbor on the machine slowed down (see `quiet`); `disturbed_percent`
    says how many were slowed down, and `mean_ms`, `p90_ms` and `all_p50_ms` are over every sample. `clock` is "cpu"
    (time that the one thread computed) or "wall", `resolution` is (height, width), `runtime` what `Runtime.describe`
    says, and `provenance` names the machine, its load, the versions and the time.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples_ms", tuple(round(float(value), 6) for value in self.samples_ms))
        object.__setattr__(self, "resolution", tuple(self.resolution))
        if not self.samples_ms:
            raise LatencyError("A measurement needs at least one sample; raise the number of rounds.")

    @property
    def timed_runs(self) -> int:
        return len(self.samples_ms)

    @property
    def p50_ms(self) -> float:
        return float(quiet_median(np.asarray(self.samples_ms)))

    @cached_property
    def interval_ms(self) -> tuple[float, float]:
        """95 % interval of `p50_ms`."""
        low, high = percentile_interval(resampled_quiet_medians(np.asarray(self.samples_ms)))
        return float(low), float(high)

    @property
    def disturbed_percent(self) -> float:
        samples = np.asarray(self.samples_ms)
        return float(100.0 * np.mean(samples > quiet_limit(samples)))

    @property
    def all_p50_ms(self) -> float:
        return float(np.percentile(self.samples_ms, 50))

    @property
    def p90_ms(self) -> float:
        return float(np.percentile(self.samples_ms, 90))

    @property
    def mean_ms(self) -> float:
        return float(np.mean(self.samples_ms))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value: the fields, and the figures that follow from the samples for readers of the file."""
        ratio = self.ratio
        figures = {name: getattr(self, name) for name in ("p50_ms", "p90_ms", "mean_ms", "all_p50_ms")}
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "samples_ms": list(self.samples_ms),
            "resolution": list(self.resolution),
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
            values = {field.name: content[field.name] for field in fields(cls)}
            ratio = values["ratio"]
            if ratio is not None:
                values["ratio"] = Ratio(ratio["reference"], ratio["p50"], tuple(ratio["interval"]))
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"Not a measurement: {error!r}. Measure again.") from error


def paired_ratio(samples_ms: list[float], reference_ms: list[float], reference: str) -> Ratio:
    """Ratio of two candidates timed in the same rounds; both lists have one value per round."""
    both = np.stack([samples_ms, reference_ms], axis=1)
    ours, theirs = quiet_median(both)
    resampled = resampled_quiet_medians(both)
    low, high = percentile_interval(resampled[:, 0] / resampled[:, 1])
    return Ratio(reference, float(ours / theirs), (float(low), float(high)))
