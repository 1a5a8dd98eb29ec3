"""Phase `slim`: descend from the largest network until every budget is met (paper, section 4.2).

One descent serves all budgets: each takes the first network on the way whose latency fits. Before anything is trained
that network is measured; where the table was too hopeful, the descent goes on from the corrected scale.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from efficientformer import __version__
from efficientformer.errors import BudgetError
from efficientformer.latency.measurement import Measurement
from efficientformer.latency.table import LatencyTable
from efficientformer.pipeline.budget import Budget
from efficientformer.pipeline.console import ProgressUpdate
from efficientformer.pipeline.corrections import read_corrections
from efficientformer.pipeline.descent import Descent
from efficientformer.pipeline.evaluations import Evaluations
from efficientformer.pipeline.measure import LARGEST, measure_beside_largest, prepare_untrained
from efficientformer.pipeline.oracles import require_reachable
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.records import digest, write_record
from efficientformer.search.polish import polish
from efficientformer.search.slim import State
from efficientformer.search.subnet import Subnet

MAX_CORRECTIONS = 4


def run(workspace: Workspace) -> None:
    run_dir = workspace.run_dir
    table = workspace.table()
    require_reachable(workspace, table)
    workspace.require(run_dir.supernet_weights, "supernet")
    search_inputs = workspace.digests(run_dir.table, run_dir.supernet_weights) | workspace.data_digest()
    stamp = Stamp(
        "slim",
        settings=workspace.chosen("budget", "device", "slim"),
        inputs=search_inputs | {"the scale after verification": digest(read_corrections(workspace))},
    )

    judging = workspace.chosen("slim.images", "slim.bn_images", "seed")
    descent_fingerprint = digest([judging, search_inputs, __version__])

    def find(_: str) -> None:
        judge = Evaluations(workspace)
        _find(workspace, table, judge, Descent(workspace, table, judge, descent_fingerprint))

    workspace.run_phase(stamp, [run_dir.trace], find)
    for network in workspace.found_networks():
        low, high = table.spread.interval_ms(network.predicted_ms)
        workspace.console.say(
            f"{network.budget.text} = {network.budget_ms:.3f} ms: {network.architecture}, "
            f"predicted {network.predicted_ms:.3f} ms [{low:.3f}, {high:.3f}]"
        )


@dataclass
class _Aim:
    """One budget on its way to a network whose latency by the table is at most `target_ms`."""

    budget: Budget
    budget_ms: float
    target_ms: float
    step: int = 0
    polished: list[State] = field(default_factory=list)
    num_polishing: int = 0
    confirmed: bool = False

    @property
    def state(self) -> State:
        """The network found: where slimming met the target, or what polishing made of it."""
        return self.polished[-1]


def _find(workspace: Workspace, table: LatencyTable, judge: Evaluations, descent: Descent) -> None:
    corrections = read_corrections(workspace)
    headroom = workspace.settings.slim.headroom
    aims = []
    for budget in workspace.budgets:
        budget_ms = budget.latency_ms(table.largest.measured_ms)
        aims.append(_Aim(budget, budget_ms, budget_ms * (1 - headroom) / corrections.get(budget.slug, 1.0)))
    made: list[dict[str, Any]] = []
    for _ in range(MAX_CORRECTIONS):
        waiting = [aim for aim in aims if not aim.confirmed]
        with workspace.console.progress("slimming") as progress:
            for aim in waiting:
                aim.step, state = descent.first_below(aim.target_ms, progress=progress)
                aim.polished = [state]
        with workspace.console.progress("polishing") as progress:
            for aim in waiting:
                aim.polished += _polish(workspace, table, judge, aim, progress)
        made += _confirm(workspace, waiting)
        if all(aim.confirmed for aim in aims):
            break
    else:
        late = ", ".join(aim.budget.text for aim in aims if not aim.confirmed)
        raise BudgetError(
            f"No network was measured within {late}, after {MAX_CORRECTIONS} corrections of the table. "
            "Measure on a quieter machine or ask for a larger budget."
        )
    write_record(workspace.run_dir.trace, _trace_record(descent, aims, made))


def _polish(
    workspace: Workspace, table: LatencyTable, judge: Evaluations, aim: _Aim, progress: ProgressUpdate
) -> Iterator[State]:
    num_evaluations, before = workspace.settings.slim.polish, aim.num_polishing

    def accuracy(subnet: Subnet) -> float:
        aim.num_polishing += 1
        progress(aim.num_polishing - before, num_evaluations, aim.budget.text)
        return judge(subnet)

    return polish(
        aim.state,
        workspace.space,
        latency=table.predict,
        accuracy=accuracy,
        budget_ms=aim.target_ms,
        num_evaluations=num_evaluations,
        rng=random.Random(f"{workspace.settings.seed}/{aim.budget.slug}"),
    )


def _confirm(workspace: Workspace, aims: list[_Aim]) -> list[dict[str, Any]]:
    """Measure the finalists, untrained; aim lower where one is too slow, by as much as it is, and say so."""
    networks = {}
    for aim in aims:
        networks[aim.budget.slug] = prepare_untrained(workspace, aim.state.subnet.architecture)
    headroom = workspace.settings.slim.headroom
    budgets = {aim.budget.slug: aim.budget for aim in aims}

    def confirming_ms(slug: str, largest: Measurement) -> float:
        return budgets[slug].latency_ms(largest.p50_ms) * (1 - headroom / 2)

    measured = measure_beside_largest(workspace, networks, confirming_ms)
    made = []
    for aim in aims:
        measured_ms = measured[aim.budget.slug].interval_ms[1]
        limit_ms = aim.budget.latency_ms(measured[LARGEST].p50_ms)
        aim.confirmed = measured_ms <= confirming_ms(aim.budget.slug, measured[LARGEST])
        if aim.confirmed:
            continue
        predicted_ms = aim.state.latency_ms
        aim.target_ms = predicted_ms * limit_ms * (1 - headroom) / measured_ms
        scale = measured_ms / predicted_ms
        made.append(
            {
                "budget": aim.budget.text,
                "step": aim.step,
                "measured_ms": measured_ms,
                "limit_ms": limit_ms,
                "predicted_ms": predicted_ms,
                "scale": scale,
            }
        )
        workspace.console.say(
            f"{aim.budget.text} allows {limit_ms:.3f} ms, measured up to {measured_ms:.3f} ms where the table says "
            f"{predicted_ms:.3f} ms; slimming goes on from the corrected scale {scale:.3f}"
        )
    return made


def _trace_record(descent: Descent, aims: list[_Aim], made: list[dict[str, Any]]) -> dict[str, Any]:
    budgets = []
    for aim in aims:
        budgets.append(
            {
                "budget": aim.budget.text,
                "budget_value": {"text": aim.budget.text, "value": aim.budget.value, "unit": aim.budget.unit},
                "slug": aim.budget.slug,
                "budget_ms": aim.budget_ms,
                "target_ms": aim.target_ms,
                "step": aim.step,
                "predicted_ms": aim.state.latency_ms,
                "predicted_interval_ms": list(descent.predicted_interval_ms(aim.state.latency_ms)),
                "top1": aim.state.top1,
                **aim.state.subnet.to_json(),
                "polish": [state.to_record() for state in aim.polished[1:]],
            }
        )
    last_step = max(aim.step for aim in aims)
    return {
        "start": descent.start_record,
        "steps": descent.records[:last_step],
        "budgets": budgets,
        "corrections": made,
        "num_evaluations": descent.num_evaluations + sum(aim.num_polishing for aim in aims),
        "provenance": provenance(),
    }
