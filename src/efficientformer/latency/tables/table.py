"""The latency lookup table of the paper (section 4.2): one number per part, summed over a network.

A plain JSON record with its device, its error on networks it was not fitted on, and an interval for each prediction. It
raises an error for what it cannot predict. No torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from efficientformer import provenance as origin
from efficientformer.arch.cost import sizes_mib, weights_mib
from efficientformer.arch.parts import Part, network_parts
from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import LatencyError, RecordError
from efficientformer.formats.table import PartEntry, TableEnd, TableNetwork, TableRecord
from efficientformer.latency.clock import Clock
from efficientformer.latency.tables.calibration import Calibration, Spread, uncached_mib
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.error import ErrorSummary, MeasuredNetwork
from efficientformer.latency.tables.interpolation import PartFigures, knot_errors
from efficientformer.latency.tables.staircases import find_steps
from efficientformer.reading import checked, read_record, shown_path
from efficientformer.records import write_record

FORMAT = 6


@dataclass(frozen=True)
class LatencyTable:
    """Latency of every part of a search space on one device.

    `entries` are by part. `calibration` turns the sum of a network's entries into the latency of the network, `spread`
    gives the interval around it. `largest` and `smallest` are the ends of the space as measured, `networks` all whole
    networks measured, `error` the summary over the held-out ones. `history` lists tables merged into this one and parts
    added later.
    """

    space: SearchSpace
    resolution: int | Grid
    num_classes: int
    runtime: dict[str, Any]
    threads: int
    clock: Clock
    entries: Mapping[Part, Entry]
    calibration: Calibration
    spread: Spread
    largest: MeasuredNetwork
    smallest: MeasuredNetwork
    networks: tuple[MeasuredNetwork, ...]
    error: ErrorSummary
    provenance: dict[str, Any]
    history: tuple[dict[str, Any], ...] = ()

    def predict(self, architecture: Architecture) -> float:
        """Latency in milliseconds. Raises LatencyError that names a part outside the table."""
        parts = network_parts(architecture, self.resolution, self.num_classes)
        sum_ms, calibration = sum(map(self.part_latency_ms, parts)), self.calibration
        extra_mib = 0.0
        if calibration.ms_per_mib:
            extra_mib = extra_uncached_mib(parts, sizes_mib(parts), self._uncached_in_chains_mib, calibration.cache_mib)
        return calibration.latency_ms(sum_ms, extra_mib)

    def part_latency_ms(self, part: Part) -> float:
        """Latency of one part before calibration, interpolated between the measured widths of its family."""
        try:
            return self._parts.of(part)
        except KeyError as error:
            raise LatencyError(
                f"The latency table has no entry for {part.key}: it covers the space {self.space.name!r} at "
                f"resolution {self.resolution} with {self.num_classes} classes. Build a table that covers this "
                "network, or measure its missing parts with 'efficientformer table predict --extend'."
            ) from error

    def part_bound_ms(self, space: SearchSpace) -> Callable[[Part], float]:
        """Latency of a part such that sums over parts are a lower bound of the latency of any network of the space.

        The calibration's `offset_ms`, which is of the network, is not included. What a network's weights cost beyond
        its entries does not add up over its parts, since a larger network misses a larger share of them. Here a part
        costs what it would at the share that the smallest network misses.
        """
        calibration = replace(self.calibration, offset_ms=0.0)
        smallest = sizes_mib(network_parts(space.smallest(), self.resolution, self.num_classes))
        share = uncached_mib(*smallest, calibration.cache_mib) / smallest[0]

        def part_ms(part: Part) -> float:
            extra_mib = share * weights_mib([part]) - self._uncached_in_chains_mib.of(part)
            return calibration.latency_ms(self.part_latency_ms(part), extra_mib)

        return part_ms

    def missing_parts(self, architecture: Architecture) -> list[Part]:
        """Parts of the network, each once, that the table cannot predict."""
        parts = dict.fromkeys(network_parts(architecture, self.resolution, self.num_classes))
        return [part for part in parts if not self._parts.covers(part)]

    @cached_property
    def _parts(self) -> PartFigures:
        return PartFigures.latencies_ms(self.entries)

    @cached_property
    def _uncached_in_chains_mib(self) -> PartFigures:
        return PartFigures.uncached_in_chains_mib(self.entries, self.calibration.cache_mib)

    def differences(self, machine: Mapping[str, Any], runtime: Mapping[str, Any]) -> list[str]:
        """How a machine and its runtime differ from the table's, each as "cpu is X, recorded was Y".

        `machine` as `Runtime.machine()` gives it, `runtime` as `Runtime.describe()`.
        """
        differences = origin.differences(self.provenance["machine"], machine)
        for name in sorted({*self.runtime, *runtime}):
            if self.runtime.get(name) != runtime.get(name):
                differences.append(f"runtime {name} is {runtime.get(name)}, recorded was {self.runtime.get(name)}")
        return differences

    def check_device(self, machine: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
        """Raise LatencyError when the table was measured on another machine, runtime, version or setting than given."""
        if differences := self.differences(machine, runtime):
            raise LatencyError(
                f"This latency table was measured elsewhere: {'; '.join(differences)}. Its milliseconds do not hold "
                "here: build a table on this device with this runtime, or use this one anyway with "
                "--table.allow-foreign."
            )

    def check_error(self, max_percent: float) -> None:
        """Raise LatencyError when the mean error on held-out networks is larger than `max_percent`."""
        if self.error.mean_percent > max_percent:
            several = " one thread (--threads 1)," if self.threads > 1 else ""
            raise LatencyError(
                f"This latency table is off by {self.error.mean_percent:.1f} % on average on held-out networks, more "
                f"than the {max_percent:g} % allowed. Build it again with more rounds (--table.rounds),{several} or on "
                f"a quieter machine; or accept it with --table.max-error {self.error.mean_percent + 0.1:.1f}."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value. For readers of the file, entries are under the keys of their parts, and `interpolation` and
        `steps` follow from the entries."""
        return {
            "format": FORMAT,
            "space": self.space.to_json(),
            "resolution": self.resolution if isinstance(self.resolution, int) else list(self.resolution),
            "num_classes": self.num_classes,
            "runtime": self.runtime,
            "threads": self.threads,
            "clock": self.clock,
            "entries": {part.key: _entry_to_json(part, entry) for part, entry in self.entries.items()},
            **asdict(self.calibration),
            "spread": asdict(self.spread),
            "largest": _end_to_json(self.largest),
            "smallest": _end_to_json(self.smallest),
            "networks": [_network_to_json(network) for network in self.networks],
            "error": asdict(self.error),
            "interpolation": {kind: asdict(errors) for kind, errors in knot_errors(self.entries).items()},
            "steps": [{**asdict(step), "is_slower": step.is_slower} for step in find_steps(self.entries)],
            "history": list(self.history),
            "provenance": self.provenance,
        }

    @classmethod
    def from_json(cls, content: Any) -> "LatencyTable":
        """Inverse of `to_json`. Raises RecordError that names the field on anything else."""
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found != FORMAT:
            raise RecordError(
                f"This latency table has format {found}, and this version reads format {FORMAT}. "
                "Measure it again with 'efficientformer table'."
            )
        try:
            return cls._of(checked(content, TableRecord))
        except ValueError as error:
            raise RecordError(
                f"Not a latency table: {str(error).rstrip('.')}. Delete it, and measure it again with "
                "'efficientformer table'."
            ) from error

    @classmethod
    def _of(cls, record: TableRecord) -> "LatencyTable":
        """Raises ArchitectureError, which is a ValueError, for a space or a part that cannot be."""
        resolution, spread = record["resolution"], record["spread"]
        return cls(
            space=SearchSpace.from_json(record["space"]),
            resolution=resolution if isinstance(resolution, int) else (resolution[0], resolution[1]),
            num_classes=record["num_classes"],
            # Tables from before precision was recorded are all in single precision.
            runtime={"precision": "fp32", **record["runtime"]},
            threads=record["threads"],
            clock=record["clock"],
            entries={Part.from_json(entry["part"]): _entry(entry) for entry in record["entries"].values()},
            calibration=Calibration(*(float(record[field.name]) for field in fields(Calibration))),
            spread=Spread(*(float(spread[field.name]) for field in fields(Spread))),
            largest=_end(record["largest"]),
            smallest=_end(record["smallest"]),
            networks=tuple(map(_network, record["networks"])),
            error=ErrorSummary(*(record["error"][field.name] for field in fields(ErrorSummary))),
            provenance=dict(record["provenance"]),
            history=tuple(map(dict, record["history"])),
        )

    def save(self, path: Path) -> None:
        write_record(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        content: Any = read_record(path, dict)
        try:
            return cls.from_json(content)
        except RecordError as error:
            raise RecordError(f"{shown_path(path)}: {error}") from error


def extra_uncached_mib(
    parts: Sequence[Part], sizes: tuple[float, float], in_chains_mib: PartFigures, cache_mib: float
) -> float:
    """MiB of the parts' weights that miss a cache in the network, beyond those that missed it in the chains of entries.

    `sizes` are the parts' `sizes_mib`.
    """
    return uncached_mib(*sizes, cache_mib) - sum(map(in_chains_mib.of, parts))


def _entry_to_json(part: Part, entry: Entry) -> dict[str, Any]:
    lists = {"interval_ms": list(entry.interval_ms), "chains_mib": [list(chain) for chain in entry.chains_mib]}
    return {"part": part.to_json(), **asdict(entry), **lists}


def _network_to_json(network: MeasuredNetwork) -> dict[str, Any]:
    architecture = network.architecture.to_json()
    return {**asdict(network), "architecture": architecture, "interval_ms": list(network.interval_ms)}


def _end_to_json(network: MeasuredNetwork) -> dict[str, Any]:
    return {
        "architecture": network.architecture.to_json(),
        "p50_ms": network.measured_ms,
        "interval_ms": list(network.interval_ms),
        "predicted_ms": network.predicted_ms,
    }


def _end(record: TableEnd) -> MeasuredNetwork:
    architecture, predicted_ms = Architecture.from_json(record["architecture"]), float(record["predicted_ms"])
    return MeasuredNetwork(architecture, float(record["p50_ms"]), _pair(record["interval_ms"]), predicted_ms)


def _network(record: TableNetwork) -> MeasuredNetwork:
    return MeasuredNetwork(
        architecture=Architecture.from_json(record["architecture"]),
        measured_ms=float(record["measured_ms"]),
        interval_ms=_pair(record["interval_ms"]),
        predicted_ms=float(record["predicted_ms"]),
        held_out=record["held_out"],
    )


def _entry(record: PartEntry) -> Entry:
    chains = tuple((float(weight), float(held), float(moved)) for weight, held, moved in record["chains_mib"])
    return Entry(float(record["latency_ms"]), _pair(record["interval_ms"]), record["samples"], chains)


def _pair(content: list[float]) -> tuple[float, float]:
    first, second = content
    return float(first), float(second)
