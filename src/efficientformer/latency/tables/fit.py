"""From timed chains and networks to a latency table: entries, calibration, and the remaining error. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from efficientformer.arch.cost import sizes_mib
from efficientformer.arch.parts import Part, network_parts
from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import LatencyError
from efficientformer.latency.clock import Clock
from efficientformer.latency.tables.chains import Chain, Formula, chain_name
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.error import (
    CACHES_MIB,
    MeasuredNetwork,
    calibrated_ms,
    cross_predictions,
    fit_calibration,
    fit_spread,
    summarize_error,
)
from efficientformer.latency.tables.formulas import table_formulas
from efficientformer.latency.tables.interpolation import PartFigures
from efficientformer.latency.tables.network_sample import spread_networks
from efficientformer.latency.tables.table import LatencyTable, extra_uncached_mib
from efficientformer.latency.timing.quiet import percentile_interval
from efficientformer.latency.timing.session import Medians


@dataclass(frozen=True)
class TablePlan:
    """What has to be timed for a table: chains for its entries; networks, smallest first, for calibration and error."""

    space: SearchSpace
    resolution: int | Grid
    num_classes: int
    formulas: dict[Part, Formula]
    chains: tuple[Chain, ...]
    networks: tuple[Architecture, ...]

    @property
    def items(self) -> tuple[Chain | Architecture, ...]:
        return (*self.chains, *self.networks)

    @property
    def names(self) -> list[str]:
        """One name per chain, then one per network."""
        chains = [chain_name(chain) for chain in self.chains]
        return chains + [f"network {index}: {network}" for index, network in enumerate(self.networks)]


def plan_table(
    space: SearchSpace, resolution: int | Grid, num_classes: int, *, chain_length: int, num_networks: int, seed: int
) -> TablePlan:
    """Chains of up to `chain_length` blocks, and `num_networks` random networks between the space's two ends.

    Raises LatencyError for a space of one or two networks: the table's error is that of the networks between them.
    """
    formulas = table_formulas(space, resolution, num_classes, chain_length=chain_length)
    between = spread_networks(space, resolution, num_classes, count=num_networks, seed=seed)
    if not between:
        raise LatencyError(
            "This space has no network between its smallest and its largest, so the error of a table could not be "
            "measured. Choose a space with more widths, depths or blocks, or measure its networks with 'benchmark'."
        )
    return TablePlan(
        space, resolution, num_classes, formulas, chains_of(formulas), (space.smallest(), *between, space.largest())
    )


@dataclass(frozen=True)
class NetworkTimes:
    """Whole networks, smallest first, with their measured medians and 95 % intervals."""

    architectures: tuple[Architecture, ...]
    measured_ms: np.ndarray
    intervals_ms: np.ndarray

    @classmethod
    def of(cls, networks: Sequence[MeasuredNetwork]) -> "NetworkTimes":
        return cls(
            tuple(network.architecture for network in networks),
            np.array([network.measured_ms for network in networks]),
            np.array([network.interval_ms for network in networks]),
        )


def fit_table(
    plan: TablePlan,
    samples_ms: ArrayLike,
    *,
    runtime: dict[str, Any],
    threads: int,
    clock: Clock,
    provenance: dict[str, Any],
) -> LatencyTable:
    """The table from samples (rounds, candidates), in the order of `plan.names`."""
    medians, num_chains = Medians(samples_ms, clock), len(plan.chains)
    return calibrated_table(
        fit_entries(plan.formulas, plan.chains, medians),
        NetworkTimes(plan.networks, medians.latencies_ms[num_chains:], medians.intervals_ms[num_chains:]),
        space=plan.space,
        resolution=plan.resolution,
        num_classes=plan.num_classes,
        runtime=runtime,
        threads=threads,
        clock=clock,
        provenance=provenance,
    )


def calibrated_table(
    entries: dict[Part, Entry],
    times: NetworkTimes,
    *,
    space: SearchSpace,
    resolution: int | Grid,
    num_classes: int,
    **facts: Any,
) -> LatencyTable:
    """Calibrate entries on whole networks, the smallest and the largest of the space at their ends.

    The calibration is fitted on all of them. Each random network is also predicted by a calibration fitted without it:
    these predictions give the table's error and spread. `facts` are further fields of the table. Raises LatencyError
    where the entries are mostly noise.
    """
    sums, uncached_mib = _sums(times.architectures, entries, resolution, num_classes)
    measured = times.measured_ms
    calibration = fit_calibration(sums, uncached_mib, measured)
    held_out = np.full(len(sums), True)
    held_out[[0, -1]] = False
    predicted = calibrated_ms(calibration, sums, uncached_mib)
    predicted[held_out] = cross_predictions(sums, uncached_mib, measured)[held_out]
    if predicted.min() <= 0 or measured.min() <= 0:
        raise LatencyError(
            "This table predicts latencies below zero: its timings are mostly noise. Measure with more rounds or on a "
            "quieter machine."
        )
    networks = tuple(
        MeasuredNetwork(
            architecture=architecture,
            measured_ms=float(measured[index]),
            interval_ms=(float(times.intervals_ms[index, 0]), float(times.intervals_ms[index, 1])),
            predicted_ms=float(predicted[index]),
            held_out=bool(held_out[index]),
        )
        for index, architecture in enumerate(times.architectures)
    )
    return LatencyTable(
        space=space,
        resolution=resolution,
        num_classes=num_classes,
        entries=entries,
        calibration=calibration,
        spread=fit_spread(predicted, measured, held_out),
        largest=networks[-1],
        smallest=networks[0],
        networks=networks,
        error=summarize_error(measured[held_out], predicted[held_out]),
        **facts,
    )


def recalibrated_table(
    table: LatencyTable, entries: dict[Part, Entry], networks: Sequence[MeasuredNetwork]
) -> LatencyTable:
    """The table with these entries and networks, smallest first, in place of its own, and no history.

    Raises LatencyError for a network with a part that has no entry.
    """
    known = PartFigures.latencies_ms(entries)
    for network in networks:
        for part in network_parts(network.architecture, table.resolution, table.num_classes):
            if not known.covers(part):
                raise LatencyError(f"The table has measured {network.architecture}, but has no entry for {part.key}.")
    return calibrated_table(
        entries,
        NetworkTimes.of(networks),
        space=table.space,
        resolution=table.resolution,
        num_classes=table.num_classes,
        runtime=table.runtime,
        threads=table.threads,
        clock=table.clock,
        provenance=table.provenance,
    )


def fit_entries(formulas: Mapping[Part, Formula], chains: Sequence[Chain], medians: Medians) -> dict[Part, Entry]:
    """Entries from the medians of candidates, of which the chains are the first."""
    column = {chain: index for index, chain in enumerate(chains)}
    entries: dict[Part, Entry] = {}
    for part, formula in formulas.items():
        columns = [column[chain] for chain in formula.weights]
        weights = np.array(list(formula.weights.values()))
        latency_ms = float(medians.latencies_ms[columns] @ weights)
        low, high = percentile_interval(medians.resampled_ms[:, columns] @ weights)
        chains_mib = tuple((share, *sizes_mib(chain)) for chain, share in formula.weights.items())
        entries[part] = Entry(latency_ms, (float(low), float(high)), medians.num_rounds, chains_mib)
    return entries


def chains_of(formulas: Mapping[Part, Formula]) -> tuple[Chain, ...]:
    """Every chain that the formulas need, once."""
    return tuple(dict.fromkeys(chain for formula in formulas.values() for chain in formula.weights))


def _sums(
    architectures: Sequence[Architecture], entries: dict[Part, Entry], resolution: int | Grid, num_classes: int
) -> tuple[np.ndarray, dict[float, np.ndarray]]:
    """Per network, the milliseconds of its parts and, by size of a cache, the MiB that miss it beyond the entries'."""
    walks = [network_parts(architecture, resolution, num_classes) for architecture in architectures]
    sizes = [sizes_mib(parts) for parts in walks]
    latencies_ms = PartFigures.latencies_ms(entries)
    uncached_mib = {}
    for cache_mib in CACHES_MIB:
        in_chains_mib = PartFigures.uncached_in_chains_mib(entries, cache_mib)
        uncached_mib[cache_mib] = np.array(
            [
                extra_uncached_mib(parts, size, in_chains_mib, cache_mib)
                for parts, size in zip(walks, sizes, strict=True)
            ]
        )
    return np.array([sum(map(latencies_ms.of, parts)) for parts in walks]), uncached_mib
