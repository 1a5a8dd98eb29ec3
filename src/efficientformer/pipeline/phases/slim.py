"""Phase `slim`: descend from the largest network until every budget is met (paper, section 4.2).

One descent serves all budgets: each takes the first network on the way whose latency fits. Before anything is trained
that network is measured; where the table was too hopeful, the descent goes on from the corrected scale.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from efficientformer import __version__
from efficientformer.errors import BudgetError
from efficientformer.latency.measure_networks import MIN_ROUNDS
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.table import LatencyTable
from efficientformer.pipeline.budget import Budget
from efficientformer.pipeline.console import ProgressUpdate
from efficientformer.pipeline.corrections import read_corrections
from efficientformer.pipeline.descent import Descent
from efficientformer.pipeline.evaluations import Evaluations
from efficientformer.pipeline.limits import MEASURED, UNITS, Limits
from efficientformer.pipeline.measure import (
    LARGEST,
    latency_beside_largest,
    measure_beside_largest,
    prepare_untrained,
)
from efficientformer.pipeline.oracles import require_reachable
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.stand_alone import trial_score
from efficientformer.pipeline.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.records import digest, write_record
from efficientformer.search.contenders import contenders
from efficientformer.search.polish import polish
from efficientformer.search.slim import LatencyOracle, State
from efficientformer.search.subnet import Subnet
from efficientformer.search.word import Judge

MAX_CORRECTIONS = 4
LIMITS_HEADROOM = 0.01
"""Share of a measured limit that is left free: for the names of classes in the file, and for what memory varies by."""


def run(workspace: Workspace) -> None:
    run_dir = workspace.run_dir
    table = workspace.table()
    require_reachable(workspace, table)
    workspace.require(run_dir.supernet_weights, "supernet")
    search_inputs = workspace.digests(run_dir.table, run_dir.supernet_weights) | workspace.data_digest()
    stamp = Stamp(
        "slim",
        settings=workspace.chosen("budget", "percentile", "limits", "device", "slim")
        | (workspace.chosen("train") if workspace.settings.slim.trials else {}),
        inputs=search_inputs | {"the scale after verification": digest(read_corrections(workspace))},
    )

    recovery = ("slim.recover_every", "slim.recover_steps", "slim.recover_lr")
    steps = ("slim.actions", "slim.narrow_by", "slim.lazy")
    judging = workspace.chosen("slim.images", "slim.bn_images", "slim.judge", *steps, *recovery, "seed")
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
    """One budget on its way to a network whose latency by the table is at most `target_ms`.

    `limits` are what the architecture may have at most of what else is limited.
    """

    budget: Budget
    budget_ms: float
    target_ms: float
    limits: dict[str, float]
    step: int = 0
    polished: list[State] = field(default_factory=list)
    tried: list[tuple[State, float]] = field(default_factory=list)
    num_judged: int = 0
    confirmed: bool = False

    def allows(self, predicted: Mapping[str, float]) -> bool:
        return all(value <= self.limits[name] for name, value in predicted.items())

    @property
    def state(self) -> State:
        """The network found: the best of the trials, what polishing made of it, or where slimming met the target."""
        if self.tried:
            return max(self.tried, key=lambda trial: trial[1])[0]
        return self.polished[-1]


def _find(workspace: Workspace, table: LatencyTable, judge: Evaluations, descent: Descent) -> None:
    corrections, limits = read_corrections(workspace), Limits(workspace)
    limits.check_reachable(workspace.space.smallest())
    headroom = workspace.settings.slim.headroom
    aims = []
    for budget in workspace.budgets:
        budget_ms = budget.latency_ms(table.largest.measured_ms)
        target_ms = budget_ms * (1 - headroom) / corrections.get(budget.slug, 1.0)
        aims.append(_Aim(budget, budget_ms, target_ms, dict(limits.most)))
    made: list[dict[str, Any]] = []
    largest: Prepared | None = None
    for _ in range(MAX_CORRECTIONS):
        waiting = [aim for aim in aims if not aim.confirmed]
        with workspace.console.progress("slimming") as progress:
            for aim in waiting:
                aim.step, state = descent.first_within(
                    aim.target_ms,
                    lambda net, aim=aim: aim.allows(limits.predicted(net)),
                    progress=progress,
                )
                aim.polished = [state]
        with workspace.console.progress("polishing") as progress:
            for aim in waiting:
                aim.polished += _polish(workspace, table, judge, aim, limits, progress)
        if workspace.settings.slim.trials:
            for aim in waiting:
                aim.tried = _tried(workspace, table, judge, aim, limits)
        largest = largest or prepare_untrained(workspace, workspace.space.largest())
        made += _confirm(workspace, largest, waiting, limits)
        if all(aim.confirmed for aim in aims):
            break
    else:
        late = ", ".join(aim.budget.text for aim in aims if not aim.confirmed)
        raise BudgetError(
            f"No network was measured within {late}, after {MAX_CORRECTIONS} corrections of the table. "
            "Measure on a quieter machine or ask for a larger budget."
        )
    write_record(workspace.run_dir.trace, _trace_record(judge.judge, descent, aims, made))


def _polish(
    workspace: Workspace,
    table: LatencyTable,
    judge: Evaluations,
    aim: _Aim,
    limits: Limits,
    progress: ProgressUpdate,
) -> Iterator[State]:
    num_evaluations, before = workspace.settings.slim.polish, aim.num_judged

    def accuracy(subnet: Subnet) -> float:
        aim.num_judged += 1
        progress(aim.num_judged - before, num_evaluations, aim.budget.text)
        return judge(subnet)

    return polish(
        aim.polished[-1],
        workspace.space,
        latency=_allowed_latency(table, aim, limits),
        accuracy=accuracy,
        budget_ms=aim.target_ms,
        num_evaluations=num_evaluations,
        rng=random.Random(f"{workspace.settings.seed}/{aim.budget.slug}"),
    )


def _tried(
    workspace: Workspace, table: LatencyTable, judge: Evaluations, aim: _Aim, limits: Limits
) -> list[tuple[State, float]]:
    """The network found and its contenders, each with its top-1 after a short training; the one found comes first."""

    def accuracy(subnet: Subnet) -> float:
        aim.num_judged += 1
        return judge(subnet)

    states = contenders(
        aim.polished[-1],
        workspace.space,
        latency=_allowed_latency(table, aim, limits),
        accuracy=accuracy,
        budget_ms=aim.target_ms,
        count=workspace.settings.slim.trials,
        rng=random.Random(f"{workspace.settings.seed}/{aim.budget.slug}/trials"),
    )
    tried = []
    for number, state in enumerate(states, start=1):
        title = f"{aim.budget.text}, trial {number} of {len(states)}"
        tried.append((state, trial_score(workspace, state.subnet, title=title)["top1"]))
    best, top1 = max(tried, key=lambda trial: trial[1])
    workspace.console.say(
        f"{aim.budget.text}: after {len(tried)} short trainings the best network, {best.subnet.architecture}, has "
        f"{top1:.1f} %; the one that slimming found has {tried[0][1]:.1f} %"
    )
    return tried


def _allowed_latency(table: LatencyTable, aim: _Aim, limits: Limits) -> LatencyOracle:
    """What the table says, and infinity for what is beyond another limit."""
    return lambda net: table.predict(net) if aim.allows(limits.predicted(net)) else math.inf


def _confirm(workspace: Workspace, largest: Prepared, aims: list[_Aim], limits: Limits) -> list[dict[str, Any]]:
    """Measure the finalists, untrained; aim lower where one takes too much, by as much as it does, and say so."""
    networks = {}
    for aim in aims:
        networks[aim.budget.slug] = prepare_untrained(workspace, aim.state.subnet.architecture)
    headroom, percentile = workspace.settings.slim.headroom, workspace.settings.percentile
    # Few rounds where they decide; a network that is still at the limit after as many as a promise takes is too slow.
    measured = measure_beside_largest(
        workspace,
        largest,
        networks,
        {aim.budget.slug: aim.budget for aim in aims},
        rounds=MIN_ROUNDS,
        most_rounds=workspace.settings.verify.rounds,
        left_free=headroom / 2,
    )
    largest_ms, _ = measured[LARGEST].at(percentile)
    made = []
    for aim in aims:
        _, (_, measured_ms) = latency_beside_largest(measured, aim.budget.slug, aim.budget, percentile)
        limit_ms = aim.budget.latency_ms(largest_ms)
        is_fast = measured_ms <= (1 - headroom / 2) * limit_ms
        aim.confirmed = _within_limits(workspace, aim, limits) and is_fast
        if is_fast:
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
            f"{aim.budget.text} allows {limit_ms:.3f} ms, less {headroom / 2:.0%} for noise; measured up to "
            f"{measured_ms:.3f} ms where the table says {predicted_ms:.3f} ms: slimming goes on from the corrected "
            f"scale {scale:.3f}"
        )
    return made


def _within_limits(workspace: Workspace, aim: _Aim, limits: Limits) -> bool:
    """Whether the network keeps what is limited; aim lower where it does not."""
    architecture = aim.state.subnet.architecture
    predicted, is_within = limits.predicted(architecture), True
    for name, value in limits.measured(architecture).items():
        most = limits.most[name] * ((1 - LIMITS_HEADROOM) if name in MEASURED else 1)
        if value > most:
            is_within = False
            aim.limits[name] = predicted[name] * most / value
            workspace.console.say(
                f"{aim.budget.text}: {value:.2f} {UNITS[name]} measured, {limits.most[name]:g} allowed; "
                "slimming goes on"
            )
    return is_within


def _trace_record(judge: Judge, descent: Descent, aims: list[_Aim], made: list[dict[str, Any]]) -> dict[str, Any]:
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
                "accuracy": aim.state.accuracy,
                **aim.state.subnet.to_json(),
                "polish": [state.to_record() for state in aim.polished[1:]],
                "trials": [{**state.to_record(), "trial_top1": top1} for state, top1 in aim.tried],
            }
        )
    last_step = max(aim.step for aim in aims)
    return {
        "judge": judge,
        "start": descent.start_record,
        "steps": descent.records[:last_step],
        "budgets": budgets,
        "corrections": made,
        "num_evaluations": descent.num_evaluations + sum(aim.num_judged for aim in aims),
        "provenance": provenance(),
    }
