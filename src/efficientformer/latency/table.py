"""The latency lookup table of the paper (section 4.2): one number per part, summed over a network.

A plain JSON record that carries its device and its own error on networks it has not seen, and that refuses questions
it cannot answer. No torch.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from efficientformer import provenance as origin
from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import Grid, Part, network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import ArchitectureError, LatencyError, RecordError
from efficientformer.latency.clock import Clock
from efficientformer.records import read_record, write_record

FORMAT = 1
BYTES_PER_WEIGHT = 4
Widths = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """Latency of one part, before scaling, with its 95 % interval and the number of rounds behind it."""

    latency_ms: float
    interval_ms: tuple[float, float]
    samples: int


@dataclass(frozen=True)
class MeasuredNetwork:
    """A whole network: the median measured, its 95 % interval, and what the table says.

    `held_out` networks had no part in the table's scale, so they tell its error.
    """

    architecture: Architecture
    measured_ms: float
    interval_ms: tuple[float, float]
    predicted_ms: float
    held_out: bool = False

    @property
    def error_percent(self) -> float:
        """How far the prediction lies from the measurement, in percent of the measurement; positive is too slow."""
        return 100.0 * (self.predicted_ms / self.measured_ms - 1.0)


@dataclass(frozen=True)
class ErrorSummary:
    """Error over held-out networks: percent of the measured latency, and Kendall's tau of the two orders."""

    mean_percent: float
    max_percent: float
    kendall_tau: float
    num_networks: int


@dataclass(frozen=True)
class Calibration:
    """From the sum of a network's parts to the network: a scale, a constant, and a price of weights beyond a cache."""

    scale: float = 1.0
    offset_ms: float = 0.0
    cache_mib: float = 0.0
    ms_per_mib: float = 0.0

    def latency_ms(self, sum_ms: float, weights_mib: float) -> float:
        return self.scale * sum_ms + self.offset_ms + self.ms_per_mib * max(0.0, weights_mib - self.cache_mib)


@dataclass(frozen=True)
class LatencyTable:
    """Latency of every part of a search space on one device.

    `entries` are keyed by `Part.key`; `calibration` leads from the sum of a network's entries to the network. `largest`
    and `smallest` are the space's ends as measured, `networks` every whole network measured, `error` the summary over
    the held-out ones.
    """

    space: SearchSpace
    resolution: int | Grid
    num_classes: int
    runtime: dict[str, Any]
    threads: int
    clock: Clock
    entries: Mapping[str, Entry]
    calibration: Calibration
    largest: MeasuredNetwork
    smallest: MeasuredNetwork
    networks: tuple[MeasuredNetwork, ...]
    error: ErrorSummary
    provenance: dict[str, Any]

    def predict(self, architecture: Architecture) -> float:
        """Latency in milliseconds. Raises LatencyError that names a part outside the table."""
        parts = network_parts(architecture, self.resolution, self.num_classes)
        return self.calibration.latency_ms(sum(map(self.part_latency_ms, parts)), weights_mib(parts))

    def part_latency_ms(self, part: Part) -> float:
        """The part alone, before calibration, interpolated linearly between the measured widths of its family."""
        try:
            return self._parts.of(part)
        except KeyError as error:
            raise LatencyError(
                f"The latency table has no answer for {part.key}: it covers the space {self.space.name!r} at "
                f"resolution {self.resolution} with {self.num_classes} classes. Build a table that covers this network."
            ) from error

    @cached_property
    def _parts(self) -> "PartLatencies":
        return PartLatencies(self.entries)

    def error_percent(self, quantile: float = 0.9) -> float:
        """By how many percent of its prediction a held-out network is missed, at most, with the given probability.

        A safety margin for a budget: aim at budget / (1 + error_percent / 100). Errs on the large side.
        """
        if not 0 < quantile <= 1:
            raise LatencyError(f"A quantile lies between 0 and 1, not at {quantile}.")
        errors = sorted(100.0 * abs(net.measured_ms / net.predicted_ms - 1.0) for net in self.networks if net.held_out)
        if not errors:
            raise LatencyError("The table has no held-out networks to tell its error. Build it with more networks.")
        return errors[min(len(errors), math.ceil(quantile * (len(errors) + 1))) - 1]

    def check_device(self, machine: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
        """Raise LatencyError when the table comes from another machine, runtime, version or setting than given.

        `machine` as `provenance.machine()` gives it, `runtime` as `Runtime.describe()`.
        """
        found = origin.differences(self.provenance["machine"], machine)
        for name in sorted({*self.runtime, *runtime}):
            if self.runtime.get(name) != runtime.get(name):
                found.append(f"runtime {name} is {runtime.get(name)}, recorded was {self.runtime.get(name)}")
        if found:
            raise LatencyError(
                f"This latency table was measured elsewhere: {'; '.join(found)}. Its milliseconds do not hold here: "
                "build a table on this device, with this runtime."
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "space": self.space.to_json(),
            "resolution": self.resolution if isinstance(self.resolution, int) else list(self.resolution),
            "num_classes": self.num_classes,
            "runtime": self.runtime,
            "threads": self.threads,
            "clock": self.clock,
            "entries": {key: asdict(entry) for key, entry in self.entries.items()},
            **asdict(self.calibration),
            "largest": _end_to_json(self.largest),
            "smallest": _end_to_json(self.smallest),
            "networks": [{**asdict(net), "architecture": net.architecture.to_json()} for net in self.networks],
            "error": asdict(self.error),
            "provenance": self.provenance,
        }

    @classmethod
    def from_json(cls, content: Any) -> "LatencyTable":
        """Inverse of `to_json`. Raises RecordError on anything else."""
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}, this version reads {FORMAT}")
            resolution = content["resolution"]
            return cls(
                space=SearchSpace.from_json(content["space"]),
                resolution=resolution if isinstance(resolution, int) else (int(resolution[0]), int(resolution[1])),
                num_classes=int(content["num_classes"]),
                runtime=dict(content["runtime"]),
                threads=int(content["threads"]),
                clock=content["clock"],
                entries={key: _entry_from_json(entry) for key, entry in content["entries"].items()},
                calibration=Calibration(**{field.name: float(content[field.name]) for field in fields(Calibration)}),
                largest=_network_from_json(content["largest"]),
                smallest=_network_from_json(content["smallest"]),
                networks=tuple(map(_network_from_json, content["networks"])),
                error=ErrorSummary(**content["error"]),
                provenance=dict(content["provenance"]),
            )
        except (KeyError, TypeError, ValueError, ArchitectureError) as error:
            raise RecordError(f"Not a latency table: {error!r}. Build it again.") from error

    def save(self, path: Path) -> None:
        write_record(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        return cls.from_json(read_record(path))


def weights_mib(parts: Iterable[Part]) -> float:
    """Size of the parts' weights in single precision."""
    return sum(part_cost(part).num_params for part in parts) * BYTES_PER_WEIGHT / 2**20


class PartLatencies:
    """Latencies of parts by width, read from entries."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._families: dict[str, dict[Widths, float]] = {}
        for key, entry in entries.items():
            family, _, widths = key.rpartition(":")
            in_width, _, width = widths.partition(">")
            self._families.setdefault(family, {})[int(in_width), int(width)] = entry.latency_ms

    def of(self, part: Part) -> float:
        """Milliseconds, interpolated where the widths were not measured. Raises KeyError outside the entries."""
        latency_ms = interpolate(self._families.get(part.family, {}), part.in_width, part.width)
        if latency_ms is None:
            raise KeyError(part.key)
        return latency_ms


def interpolate(knots: Mapping[Widths, float], in_width: int, width: int) -> float | None:
    """Piecewise linear value at a pair of widths, or None outside the knots.

    Where all knots keep the width (in_width = width) that is one axis; otherwise they form a grid of two.
    """
    if in_width == width and all(first == second for first, second in knots):
        brackets = _bracket(sorted(second for _, second in knots), width)
        corners = [((knot, knot), weight) for knot, weight in brackets]
    else:
        rows = _bracket(sorted({first for first, _ in knots}), in_width)
        columns = _bracket(sorted({second for _, second in knots}), width)
        corners = [((row, column), a * b) for row, a in rows for column, b in columns]
    if not corners or any(corner not in knots for corner, _ in corners):
        return None
    return sum(knots[corner] * weight for corner, weight in corners)


def _bracket(axis: list[int], value: int) -> list[tuple[int, float]]:
    """The knots around a value, with weights that sum to 1; empty outside."""
    if value in axis:
        return [(value, 1.0)]
    above = bisect_right(axis, value)
    if above in (0, len(axis)):
        return []
    low, high = axis[above - 1], axis[above]
    share = (value - low) / (high - low)
    return [(low, 1.0 - share), (high, share)]


def _end_to_json(network: MeasuredNetwork) -> dict[str, Any]:
    return {
        "architecture": network.architecture.to_json(),
        "p50_ms": network.measured_ms,
        "interval_ms": list(network.interval_ms),
        "predicted_ms": network.predicted_ms,
    }


def _network_from_json(content: dict[str, Any]) -> MeasuredNetwork:
    return MeasuredNetwork(
        architecture=Architecture.from_json(content["architecture"]),
        measured_ms=float(content["p50_ms"] if "p50_ms" in content else content["measured_ms"]),
        interval_ms=_interval(content["interval_ms"]),
        predicted_ms=float(content["predicted_ms"]),
        held_out=bool(content.get("held_out", False)),
    )


def _entry_from_json(content: dict[str, Any]) -> Entry:
    return Entry(float(content["latency_ms"]), _interval(content["interval_ms"]), int(content["samples"]))


def _interval(content: list[float]) -> tuple[float, float]:
    low, high = content
    return float(low), float(high)
