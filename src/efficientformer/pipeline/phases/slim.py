"""Phase `slim`: descend from the largest network until every budget is met (paper, section 4.2).

One descent serves all budgets: each takes the first network on the way whose latency fits. That network is measured
before anything is trained. If the table predicted too little, the descent continues to a corrected target.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from efficientformer.arch.spec import Architecture
from efficientformer.errors import BudgetError
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.networks.led import led
from efficientformer.pipeline.networks.stand_alone import trial_score
from efficientformer.pipeline.run.console import ProgressUpdate
from efficientformer.pipeline.run.corrections import read_corrections
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.plan import SLIM, SUPERNET
from efficientformer.pipeline.run.run_network import read_found
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.aim import Aim, Proposal
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.confirm import Confirmation
from efficientformer.pipeline.slimming.descent import descent_fingerprint, num_evaluations
from efficientformer.pipeline.slimming.limits import Limits
from efficientformer.pipeline.slimming.oracles import require_reachable
from efficientformer.pipeline.slimming.promise import promises
from efficientformer.pipeline.slimming.rounds import Rounds
from efficientformer.pipeline.slimming.versions import Versions
from efficientformer.provenance import provenance
from efficientformer.records import write_record
from efficientformer.search.candidates import State
from efficientformer.search.contenders import contenders
from efficientformer.search.polish import polish
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import LatencyOracle

MAX_CORRECTIONS = 4


def run(workspace: Workspace) -> None:
    led(workspace, _run)


def _run(workspace: Workspace) -> None:
    table = load_table(workspace)
    require_reachable(workspace, table)
    SUPERNET.require(workspace)

    def find(_: str) -> None:
        scorer, fingerprint = CachedScorer(workspace), descent_fingerprint(workspace)
        Versions(workspace, scorer, fingerprint).remove_others()
        _find(workspace, table, scorer, Rounds(workspace, table, scorer, fingerprint))

    SLIM.run(workspace, find)
    for network in read_found(workspace.run_dir):
        if _is_parent(workspace, network.architecture):
            workspace.console.say(f"{network.budget.text}: the parent is within it as it is; nothing is slimmed")
        low, high = table.spread.interval_ms(network.predicted_ms)
        workspace.console.say(
            f"{network.budget.text} = {network.budget_ms:.3f} ms: {network.architecture}, "
            f"predicted {network.predicted_ms:.3f} ms [{low:.3f}, {high:.3f}]"
        )


def _is_parent(workspace: Workspace, architecture: Architecture | None) -> bool:
    return workspace.settings.parent.init is not None and architecture == workspace.space.largest()


def _find(workspace: Workspace, table: LatencyTable, scorer: CachedScorer, rounds: Rounds) -> None:
    corrections, limits = read_corrections(workspace), Limits(workspace)
    limits.check_reachable(workspace.space.smallest())
    aims = []
    for promise in promises(workspace):
        budget_ms = promise.limit_ms(table.largest.measured_ms)
        target_ms = promise.target_ms(budget_ms, corrections.get(promise.budget.slug, 1.0))
        aims.append(Aim(promise, budget_ms, target_ms, dict(limits.most)))
    confirmation = Confirmation(workspace, limits)
    while waiting := [aim for aim in aims if not aim.is_confirmed]:
        late = [aim.budget.text for aim in waiting if aim.num_rejected == MAX_CORRECTIONS]
        if late:
            raise BudgetError(
                f"No network was measured within {', '.join(late)}, after {MAX_CORRECTIONS} corrections of the table. "
                "Measure on a quieter machine or ask for a larger budget."
            )
        if missing := [aim for aim in waiting if aim.proposal is None]:
            _search(workspace, table, scorer, rounds, limits, missing)
        confirmation.confirm(waiting)
    write_record(workspace.run_dir.trace, _trace_record(scorer, rounds, aims))


def _search(
    workspace: Workspace,
    table: LatencyTable,
    scorer: CachedScorer,
    rounds: Rounds,
    limits: Limits,
    aims: Sequence[Aim],
) -> None:
    """Propose a network for each aim: where its descent meets it, polished, or the best of the trials. A parent that
    meets it stays as it is."""
    descents = [rounds.towards(aim.budget_ms) for aim in aims]
    with workspace.console.progress("slimming") as progress:
        for aim, descent in zip(aims, descents, strict=True):
            place, state = descent.first_within(
                aim.target_ms,
                lambda net, aim=aim: aim.allows(limits.predicted(net)),
                progress=progress,
            )
            aim.proposal = Proposal(place, [state])
    slimmed = [aim for aim in aims if not _is_parent(workspace, aim.proposed.state.subnet.architecture)]
    with workspace.console.progress("polishing") as progress:
        for aim in slimmed:
            rounds.use_weights_at(aim.proposed.place)
            met = aim.proposed.polished[-1]
            improvements = _polish(workspace, table, scorer, aim, met, limits, progress)
            aim.proposal = replace(aim.proposed, polished=[met, *improvements])
    if workspace.settings.slim.trials:
        for aim in slimmed:
            rounds.use_weights_at(aim.proposed.place)
            aim.proposal = replace(aim.proposed, trials=_trials(workspace, table, scorer, aim, limits))


def _polish(
    workspace: Workspace,
    table: LatencyTable,
    scorer: CachedScorer,
    aim: Aim,
    start: State,
    limits: Limits,
    progress: ProgressUpdate,
) -> Iterator[State]:
    num_evaluations, before = workspace.settings.slim.polish, aim.num_scored

    def accuracy(subnet: Subnet) -> float:
        aim.num_scored += 1
        progress(aim.num_scored - before, num_evaluations, aim.budget.text)
        return scorer(subnet)

    return polish(
        start,
        workspace.space,
        latency=_allowed_latency(table, aim, limits),
        accuracy=accuracy,
        budget_ms=aim.target_ms,
        num_evaluations=num_evaluations,
        rng=random.Random(f"{workspace.settings.seed}/{aim.budget.slug}"),
    )


def _trials(
    workspace: Workspace, table: LatencyTable, scorer: CachedScorer, aim: Aim, limits: Limits
) -> list[tuple[State, float]]:
    """The proposed network, then its contenders, each with its score after a short training."""

    def accuracy(subnet: Subnet) -> float:
        aim.num_scored += 1
        return scorer(subnet)

    states = contenders(
        aim.proposed.polished[-1],
        workspace.space,
        latency=_allowed_latency(table, aim, limits),
        accuracy=accuracy,
        budget_ms=aim.target_ms,
        count=workspace.settings.slim.trials,
        rng=random.Random(f"{workspace.settings.seed}/{aim.budget.slug}/trials"),
    )
    trials = []
    for number, state in enumerate(states, start=1):
        title = f"{aim.budget.text}, trial {number} of {len(states)}"
        trials.append((state, trial_score(workspace, state.subnet, title=title)[scorer.primary]))
    best, score = max(trials, key=lambda trial: trial[1])
    workspace.console.say(
        f"{aim.budget.text}: after {len(trials)} short trainings the best network, {best.subnet.architecture}, has "
        f"{score:.1f} %; the one that slimming found has {trials[0][1]:.1f} %"
    )
    return trials


def _allowed_latency(table: LatencyTable, aim: Aim, limits: Limits) -> LatencyOracle:
    """Latency by the table, and infinity for an architecture over another limit."""
    return lambda net: table.predict(net) if aim.allows(limits.predicted(net)) else math.inf


def _trace_record(scorer: CachedScorer, rounds: Rounds, aims: list[Aim]) -> dict[str, Any]:
    steps, numbers = rounds.steps_to([place for aim in aims for place in aim.places])
    budgets = []
    for aim in aims:
        proposal, state = aim.proposed, aim.proposed.state
        budgets.append(
            {
                "budget": aim.budget.text,
                "budget_value": {"text": aim.budget.text, "value": aim.budget.value, "unit": aim.budget.unit},
                "slug": aim.budget.slug,
                "budget_ms": aim.budget_ms,
                "target_ms": aim.target_ms,
                "step": numbers[proposal.place],
                "weights": rounds.version_at(proposal.place),
                "predicted_ms": state.latency_ms,
                "predicted_interval_ms": list(rounds.first.predicted_interval_ms(state.latency_ms)),
                "accuracy": state.accuracy,
                **state.subnet.to_json(),
                "polish": [improved.to_record() for improved in proposal.polished[1:]],
                "trials": [{**trial.to_record(), f"trial_{scorer.primary}": score} for trial, score in proposal.trials],
            }
        )
    return {
        "metric": scorer.metric,
        "objective": rounds.first.objective.name,
        "channels": scorer.channels,
        "descent": rounds.fingerprint,
        "start": rounds.first.start_record,
        "steps": steps,
        **rounds.round_record(numbers),
        "budgets": budgets,
        "corrections": [{**row, "step": numbers[place]} for aim in aims for place, row in aim.corrections],
        "num_evaluations": num_evaluations(steps) + sum(aim.num_scored for aim in aims),
        "provenance": provenance(),
    }
