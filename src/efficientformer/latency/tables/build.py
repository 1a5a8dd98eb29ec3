"""Building the latency table of a search space on this device (paper, section 4.2).

Chains of parts and whole networks are prepared once and then timed together, in randomly interleaved rounds, so that
table and networks see the same machine. Finished rounds are kept on disk; an interrupted build goes on from there.
"""

from pathlib import Path

import numpy as np

from efficientformer.arch.parts import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import LatencyError
from efficientformer.latency.clock import Clock, check_clock
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.tables.fit import TablePlan, fit_table, plan_table
from efficientformer.latency.tables.preparation import prepare_architecture, prepare_chain
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.latency.timing.calm import calm_rounds, counted_rounds, num_missing, time_until_calm
from efficientformer.latency.timing.partial import PartialRounds
from efficientformer.latency.timing.timer import Progress, time_interleaved
from efficientformer.provenance import provenance

ROUNDS = 24
NUM_NETWORKS = 24
CHAIN_LENGTH = 4
SAMPLE_MS = (1.0, 5.0)


def build_table(
    space: SearchSpace,
    *,
    resolution: int | Grid,
    num_classes: int,
    runtime: Runtime,
    clock: Clock,
    rounds: int = ROUNDS,
    num_networks: int = NUM_NETWORKS,
    chain_length: int = CHAIN_LENGTH,
    seed: int = 0,
    partial_path: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure every part of the space on this device, in the deploy form and one image at a time.

    `num_networks` random networks besides the largest and the smallest are measured as well: they set the calibration,
    and each tells the error of the one that the others set. Rounds in disturbed windows are taken again and left out
    (see `calm`); the table's provenance says which, and what had not settled after its warm-up. Rounds are kept in
    `partial_path`; a later call with the same arguments on the same machine takes up from them. `progress(done, total,
    text)` counts prepared chains and networks, then rounds.
    Raises LatencyError for a clock that does not fit the runtime's threads, and for too few rounds, networks or blocks.
    """
    check_clock(clock, runtime.threads)
    if min(rounds, num_networks, chain_length) < 2:
        raise LatencyError("A table needs at least two rounds, two random networks, and chains of two blocks.")
    plan = plan_table(space, resolution, num_classes, chain_length=chain_length, num_networks=num_networks, seed=seed)
    origin = provenance(runtime.machine())
    setting = [space.to_json(), resolution, num_classes, clock, runtime.describe()]
    partial = PartialRounds(partial_path, [setting, origin["machine"], origin["versions"]], plan.names)
    if num_missing(partial.rounds, rounds):
        candidates = _prepare(plan, runtime, rounds, progress)
        time_until_calm(
            candidates,
            partial,
            rounds=rounds,
            clock=clock,
            threads=runtime.threads,
            seed=seed,
            min_sample_ms=sample_ms(candidates[plan.names[-1]], clock, runtime.threads),
            progress=_after(len(candidates), progress),
        )
    calm, counted = calm_rounds(partial.rounds), counted_rounds(partial.rounds)
    return fit_table(
        plan,
        np.asarray(partial.rounds)[counted],
        runtime=runtime.describe(),
        threads=runtime.threads,
        clock=clock,
        provenance={
            **origin,
            "rounds": {
                "taken": len(calm),
                "disturbed": np.flatnonzero(~counted).tolist(),
                "calm": int(calm.sum()) >= rounds,
            },
            "unsettled": [name for name, noted in partial.notes["warm_up"].items() if not noted["settled"]],
        },
    )


def sample_ms(largest: Prepared, clock: Clock, threads: int) -> float:
    """How long a sample lasts: one call of the largest network, within limits, so that all meet disturbances alike."""
    shortest, longest = SAMPLE_MS
    calls = time_interleaved({"largest": largest}, rounds=3, clock=clock, threads=threads, min_sample_ms=0)["largest"]
    return min(longest, max(shortest, min(calls)))


def _prepare(plan: TablePlan, runtime: Runtime, rounds: int, progress: Progress | None) -> dict[str, Prepared]:
    total = len(plan.names)
    candidates: dict[str, Prepared] = {}
    for name, item in zip(plan.names, (*plan.chains, *plan.networks), strict=True):
        if isinstance(item, Architecture):
            candidates[name] = prepare_architecture(item, plan.resolution, plan.num_classes, runtime)
        else:
            candidates[name] = prepare_chain(item, runtime)
        if progress is not None:
            progress(len(candidates), total + rounds, f"prepared {len(candidates)} of {total} chains and networks")
    return candidates


def _after(prepared: int, progress: Progress | None) -> Progress | None:
    """Progress of the rounds, counted on from what has been prepared."""
    if progress is None:
        return None
    return lambda done, total, text: progress(prepared + done, prepared + total, text)
