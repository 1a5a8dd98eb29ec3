"""Two tables: merged into one, or compared entry by entry. No torch."""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from scipy.stats import kendalltau

from efficientformer.arch.parts import Part, PartKind
from efficientformer.arch.space import SearchSpace, StageSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import LatencyError
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.error import MeasuredNetwork
from efficientformer.latency.tables.fit import recalibrated_table
from efficientformer.latency.tables.table import LatencyTable

NUM_RANDOM_NETWORKS = 200
LEAST_NOISE = 1e-3
"""Smallest relative noise of an entry: a tenth of a percent."""


@dataclass(frozen=True)
class EntryChange:
    """One part in both tables; `ratio` is the second latency over the first, None unless both are positive."""

    key: str
    first_ms: float
    second_ms: float
    is_beyond_noise: bool

    @property
    def ratio(self) -> float | None:
        return self.second_ms / self.first_ms if min(self.first_ms, self.second_ms) > 0 else None


@dataclass(frozen=True)
class TableDiff:
    """The second table against the first.

    `scale` is the median ratio of predicted latency over `num_networks` random networks that both can predict, `spread`
    the lowest and highest ratio, `kendall_tau` the agreement of their rankings. `kinds` is the ratio of the summed
    latency of the shared parts of each kind, `settings` the differences in device, runtime, threads and clock.
    """

    settings: tuple[str, ...]
    scale: float
    spread: tuple[float, float]
    kendall_tau: float
    num_networks: int
    kinds: Mapping[PartKind, float]
    changes: tuple[EntryChange, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def merge_tables(first: LatencyTable, second: LatencyTable) -> LatencyTable:
    """One table from two of the same device, runtime, clock and kind of space; one space must contain the other.

    Both are scaled to the speed halfway between them; what both measured is averaged by precision. The calibration is
    fitted again on all networks. Raises LatencyError where the tables cannot be merged.
    """
    _require_same_origin(first, second)
    space = _wider_space(first.space, second.space)
    logs = _log_ratios(first, second)
    if not logs:
        raise LatencyError(
            "These two tables share no network and no entry above noise, so they cannot be brought to one scale. Build "
            "one table of the wider space instead."
        )
    halfway = math.exp(median(logs) / 2)
    networks = _merge_networks(first, second, halfway)
    ends = [_find(networks, space.smallest()), _find(networks, space.largest())]
    between = sorted((net for net in networks if net not in ends), key=lambda net: net.measured_ms)
    ordered = [ends[0], *between, ends[1]]
    entries = {part: entry.scaled(halfway) for part, entry in first.entries.items()}
    for part, entry in second.entries.items():
        other = entry.scaled(1 / halfway)
        entries[part] = _weighed(entries[part], other) if part in entries else other
    merged = recalibrated_table(replace(first, space=space, provenance=second.provenance), entries, ordered)
    merger = {"what": "merged", "scales": [halfway, 1 / halfway], "provenances": [first.provenance, second.provenance]}
    return replace(merged, history=(*first.history, *second.history, merger))


def diff_tables(first: LatencyTable, second: LatencyTable, *, seed: int = 0) -> TableDiff:
    """What changed from the first table to the second. Raises LatencyError when they share no network."""
    changes = {
        part: _change(part, entry, second.entries[part])
        for part, entry in first.entries.items()
        if part in second.entries
    }
    rng = random.Random(seed)
    drawn = list(dict.fromkeys(first.space.random(rng) for _ in range(NUM_RANDOM_NETWORKS)))
    known = [net for net in drawn if not first.missing_parts(net) and not second.missing_parts(net)]
    if len(known) < 2:
        raise LatencyError(
            "These two tables predict no networks in common: compare tables of one space, resolution and number of "
            "classes."
        )
    before, after = (np.array([table.predict(net) for net in known]) for table in (first, second))
    ratios = after / before
    return TableDiff(
        settings=tuple(_differences(first, second)),
        scale=float(np.median(ratios)),
        spread=(float(ratios.min()), float(ratios.max())),
        kendall_tau=float(np.asarray(kendalltau(before, after)[0])),
        num_networks=len(known),
        kinds=_kind_ratios(changes),
        changes=tuple(changes.values()),
        only_first=tuple(part.key for part in first.entries if part not in second.entries),
        only_second=tuple(part.key for part in second.entries if part not in first.entries),
    )


def _require_same_origin(first: LatencyTable, second: LatencyTable) -> None:
    differences = _differences(first, second)
    for name in ("resolution", "num_classes"):
        if getattr(first, name) != getattr(second, name):
            differences.append(f"{name} is {getattr(second, name)} and {getattr(first, name)}")
    if differences:
        raise LatencyError(
            f"These two tables cannot be merged: {'; '.join(differences)}. Merge tables of one device, runtime, clock "
            "and resolution only; 'efficientformer table diff' compares others."
        )


def _differences(first: LatencyTable, second: LatencyTable) -> list[str]:
    """In machine, runtime, threads and clock."""
    differences = first.differences(second.provenance["machine"], second.runtime)
    for name in ("threads", "clock"):
        if getattr(first, name) != getattr(second, name):
            differences.append(f"{name} is {getattr(second, name)}, recorded was {getattr(first, name)}")
    return differences


def _wider_space(first: SearchSpace, second: SearchSpace) -> SearchSpace:
    for wide, narrow in ((first, second), (second, first)):
        same = (wide.stem_strides, wide.activation) == (narrow.stem_strides, narrow.activation)
        if same and all(map(_holds, wide.stages, narrow.stages)):
            return wide
    raise LatencyError(
        f"Neither of the spaces {first.name!r} and {second.name!r} contains the other, so their tables cannot be "
        "merged. Build one table of a space that contains both."
    )


def _holds(wide: StageSpace, narrow: StageSpace) -> bool:
    """Whether a stage of one space may be all that a stage of another may be."""
    widths = narrow.min_width >= wide.min_width and narrow.max_width <= wide.max_width
    return widths and narrow.depth <= wide.depth and set(narrow.candidates) <= set(wide.candidates)


def _log_ratios(first: LatencyTable, second: LatencyTable) -> list[float]:
    """Second over first: of shared whole networks if there are any, else of shared entries above noise."""
    measured = {net.architecture: net.measured_ms for net in first.networks}
    logs = [math.log(n.measured_ms / measured[n.architecture]) for n in second.networks if n.architecture in measured]
    if logs:
        return logs
    pairs = [(first.entries[part], entry) for part, entry in second.entries.items() if part in first.entries]
    return [
        math.log(theirs.latency_ms / ours.latency_ms)
        for ours, theirs in pairs
        if ours.latency_ms > 2 * ours.noise_ms and theirs.latency_ms > 2 * theirs.noise_ms
    ]


def _merge_networks(first: LatencyTable, second: LatencyTable, halfway: float) -> list[MeasuredNetwork]:
    merged: dict[Architecture, Entry] = {}
    for table, factor in ((first, halfway), (second, 1 / halfway)):
        for network in table.networks:
            entry = Entry(network.measured_ms, network.interval_ms, 1).scaled(factor)
            known = merged.get(network.architecture)
            merged[network.architecture] = _weighed(known, entry) if known else entry
    return [MeasuredNetwork(net, entry.latency_ms, entry.interval_ms, 0.0) for net, entry in merged.items()]


def _find(networks: list[MeasuredNetwork], architecture: Architecture) -> MeasuredNetwork:
    for network in networks:
        if network.architecture == architecture:
            return network
    raise LatencyError(f"Neither table has measured {architecture}, an end of its space. Measure them again.")


def _weighed(first: Entry, second: Entry) -> Entry:
    """Average of both, weighted by one over the squared noise; the interval follows from both."""
    noises = [max(entry.noise_ms, LEAST_NOISE * abs(entry.latency_ms), 1e-9) for entry in (first, second)]
    precisions = [noise**-2 for noise in noises]
    share = precisions[0] / sum(precisions)
    latency_ms = share * first.latency_ms + (1 - share) * second.latency_ms
    # Averaging two measurements that contradict each other does not make the result more precise.
    apart = abs(first.latency_ms - second.latency_ms) / 2
    half = max(sum(precisions) ** -0.5, apart)
    shares = ((first, share), (second, 1 - share))
    chains_mib = [(part * counts, *mib) for entry, part in shares for counts, *mib in entry.chains_mib]
    return Entry(
        latency_ms, (latency_ms - half, latency_ms + half), first.samples + second.samples, _summed(chains_mib)
    )


def _summed(chains_mib: Iterable[tuple[float, ...]]) -> tuple[tuple[float, float, float], ...]:
    total: defaultdict[tuple[float, float], float] = defaultdict(float)
    for counts, weights_mib, activations_mib in chains_mib:
        total[weights_mib, activations_mib] += counts
    return tuple((counts, *mib) for mib, counts in total.items())


def _change(part: Part, first: Entry, second: Entry) -> EntryChange:
    noise_ms = math.hypot(first.noise_ms, second.noise_ms)
    is_beyond_noise = abs(second.latency_ms - first.latency_ms) > noise_ms
    return EntryChange(part.key, first.latency_ms, second.latency_ms, is_beyond_noise)


def _kind_ratios(changes: Mapping[Part, EntryChange]) -> dict[PartKind, float]:
    sums: dict[PartKind, tuple[float, float]] = {}
    for part, change in changes.items():
        first_ms, second_ms = sums.get(part.kind, (0.0, 0.0))
        sums[part.kind] = (first_ms + change.first_ms, second_ms + change.second_ms)
    return {kind: second_ms / first_ms for kind, (first_ms, second_ms) in sums.items() if min(first_ms, second_ms) > 0}
