"""From timed chains and networks to a latency table: entries, one scale, and the error that is left. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from efficientformer.arch.parts import Grid, network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.latency.chains import Chain, Formula, chain_name, table_formulas
from efficientformer.latency.clock import Clock
from efficientformer.latency.network_sample import spread_networks
from efficientformer.latency.quiet import percentile_interval, quiet_median, resampled_quiet_medians
from efficientformer.latency.table import Entry, LatencyTable, MeasuredNetwork, PartLatencies, weights_mib
from efficientformer.latency.table_error import fit_calibration, summarize_error


@dataclass(frozen=True)
class TablePlan:
    """What has to be timed for a table: chains for its entries; networks, smallest first, for its scale and error."""

    space: SearchSpace
    resolution: int | Grid
    num_classes: int
    formulas: dict[str, Formula]
    chains: tuple[Chain, ...]
    networks: tuple[Architecture, ...]

    @property
    def names(self) -> list[str]:
        """One name per chain, then one per network."""
        chains = [chain_name(chain) for chain in self.chains]
        return chains + [f"network {index}: {network}" for index, network in enumerate(self.networks)]


def plan_table(
    space: SearchSpace, resolution: int | Grid, num_classes: int, *, chain_length: int, num_networks: int, seed: int
) -> TablePlan:
    """Chains of up to `chain_length` blocks, and `num_networks` random networks between the space's two ends."""
    formulas = table_formulas(space, resolution, num_classes, chain_length=chain_length)
    chains = tuple(dict.fromkeys(chain for formula in formulas.values() for chain in formula.weights))
    between = spread_networks(space, resolution, num_classes, count=num_networks, seed=seed)
    return TablePlan(space, resolution, num_classes, formulas, chains, (space.smallest(), *between, space.largest()))


def fit_table(
    plan: TablePlan,
    samples_ms: Sequence[Sequence[float]],
    *,
    runtime: dict[str, Any],
    threads: int,
    clock: Clock,
    provenance: dict[str, Any],
) -> LatencyTable:
    """The table from samples (rounds, candidates), in the order of `plan.names`.

    Every second random network sets the scale, with the largest and the smallest; the others tell the error.
    """
    samples = np.asarray(samples_ms, dtype=float)
    medians, resampled = quiet_median(samples), resampled_quiet_medians(samples)
    entries = _entries(plan, medians, resampled, num_rounds=len(samples))
    sums, weights = _sums(plan, entries)
    measured = medians[len(plan.chains) :]
    low, high = percentile_interval(resampled[:, len(plan.chains) :])
    last = len(plan.networks) - 1
    held_out = np.array([index % 2 == 1 and index < last for index in range(last + 1)])
    calibration = fit_calibration(sums[~held_out], weights[~held_out], measured[~held_out])
    predicted = np.array([calibration.latency_ms(*pair) for pair in zip(sums, weights, strict=True)])
    networks = tuple(
        MeasuredNetwork(
            architecture=architecture,
            measured_ms=float(measured[index]),
            interval_ms=(float(low[index]), float(high[index])),
            predicted_ms=float(predicted[index]),
            held_out=bool(held_out[index]),
        )
        for index, architecture in enumerate(plan.networks)
    )
    return LatencyTable(
        space=plan.space,
        resolution=plan.resolution,
        num_classes=plan.num_classes,
        runtime=runtime,
        threads=threads,
        clock=clock,
        entries=entries,
        calibration=calibration,
        largest=networks[-1],
        smallest=networks[0],
        networks=networks,
        error=summarize_error(measured[held_out], predicted[held_out]),
        provenance=provenance,
    )


def _entries(plan: TablePlan, medians: np.ndarray, resampled: np.ndarray, *, num_rounds: int) -> dict[str, Entry]:
    column = {chain: index for index, chain in enumerate(plan.chains)}
    entries = {}
    for key, formula in plan.formulas.items():
        columns = [column[chain] for chain in formula.weights]
        weights = np.array(list(formula.weights.values()))
        low, high = percentile_interval(resampled[:, columns] @ weights)
        entries[key] = Entry(float(medians[columns] @ weights), (float(low), float(high)), num_rounds)
    return entries


def _sums(plan: TablePlan, entries: dict[str, Entry]) -> tuple[np.ndarray, np.ndarray]:
    """Per network, the milliseconds of its parts and the MiB of its weights."""
    latencies = PartLatencies(entries)
    walks = [network_parts(network, plan.resolution, plan.num_classes) for network in plan.networks]
    sums = [sum(map(latencies.of, parts)) for parts in walks]
    return np.array(sums), np.array([weights_mib(parts) for parts in walks])
