"""Parts that a table lacks, timed on demand and added to it.

They are timed in the same rounds as anchors, and scaled to the machine's speed at the time of the table by those.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from efficientformer.arch.parts import Part
from efficientformer.arch.spec import Architecture
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.tables.anchors import check_agreement, choose_anchors, drift
from efficientformer.latency.tables.build import CHAIN_LENGTH, ROUNDS
from efficientformer.latency.tables.chains import Chain, Formula, chain_name
from efficientformer.latency.tables.fit import chains_of, fit_entries
from efficientformer.latency.tables.formulas import architecture_formulas
from efficientformer.latency.tables.preparation import preparations
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.latency.timing.session import TimedSession
from efficientformer.latency.timing.timer import Progress
from efficientformer.provenance import provenance


def extend_table(
    table: LatencyTable,
    architectures: Sequence[Architecture],
    runtime: Runtime,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    partial_path: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """The table with an entry for every part of the architectures, inside or outside its search space.

    Only missing parts are timed. Calibration and error stay the same: a network outside the measured range of latency
    gets a wider interval. Raises LatencyError on another device than the table's, and when the table's own networks
    disagree on how fast the machine is now.
    """
    formulas: dict[Part, Formula] = {}
    for architecture in architectures:
        missing = table.missing_parts(architecture)
        formulas |= architecture_formulas(
            architecture, missing, table.space, table.resolution, table.num_classes, chain_length=CHAIN_LENGTH
        )
    if not formulas:
        return table
    table.check_device(runtime.machine(), runtime.describe())
    chains, anchors = chains_of(formulas), choose_anchors(table)
    origin = provenance(runtime.machine())
    items: dict[str, Chain | Architecture] = {chain_name(chain): chain for chain in chains}
    items |= {f"anchor: {anchor.architecture}": anchor.architecture for anchor in anchors}
    session = TimedSession(
        preparations(items, table.resolution, table.num_classes, runtime),
        clock=table.clock,
        threads=table.threads,
        about=[runtime.describe(), origin["machine"], origin["versions"], table.resolution, table.num_classes],
        partial_path=partial_path,
        seed=seed,
    )
    session.take(rounds, progress=progress)
    medians = session.medians()
    anchors_ms = medians.latencies_ms[len(chains) :]
    check_agreement(anchors, anchors_ms)
    scale = 1 / drift(anchors, anchors_ms)
    measured = fit_entries(formulas, chains, medians)
    added = {part: entry.scaled(scale) for part, entry in measured.items()}
    history: dict[str, Any] = {"what": "extended", "entries": [part.key for part in added], "scale": scale}
    history["provenance"] = origin
    return replace(table, entries={**table.entries, **added}, history=(*table.history, history))
