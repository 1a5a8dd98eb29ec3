"""How a step weighs its actions: in turn, lazily, or in parallel. No torch.

A strategy takes the actions of a step and the state before it, and returns one candidate per action, in the same order.
All strategies compute the latency of every action. They differ in which accuracies they compute, and when: evaluating
accuracy takes nearly all the time of a descent.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import pairwise
from typing import Any

from efficientformer.arch.spec import Architecture, num_heads_of
from efficientformer.search.actions import Action
from efficientformer.search.candidates import Candidate, GivenUp, LeftOut, Refused, State, Weighed
from efficientformer.search.objective import LATENCY, Objective
from efficientformer.search.subnet import Subnet

LatencyOracle = Callable[[Architecture], float]
AccuracyOracle = Callable[[Subnet], float]
HopefulOracle = Callable[[Subnet, float], float | None]
"""An accuracy oracle that returns None as soon as the accuracy cannot reach the second argument."""
Ahead = Callable[[Iterable[tuple[Subnet, float]]], None]
"""Is given the subnets that an oracle will be asked for next, as far as is known, each with its second argument."""
Weigh = Callable[[Sequence[Action], State], tuple[Candidate, ...]]
"""A strategy: one candidate per action, in the order of the actions."""

ROUNDING = 1e-9


def unprepared(asked: Iterable[tuple[Subnet, float]]) -> None:
    """An `Ahead` of an oracle that computes one subnet at a time."""


def weigh_in_turn(
    latency: LatencyOracle, accuracy: HopefulOracle, objective: Objective = LATENCY, ahead: Ahead = unprepared
) -> Weigh:
    """Weigh one action after another; each is given up once it cannot reach the best score before it.

    The step takes the same action as if every evaluation were completed. To complete them, wrap the oracle in
    `patient`.

    ahead: may have the oracle compute several subnets at a time; candidates do not depend on it.
    """

    def weigh(actions: Sequence[Action], state: State) -> tuple[Candidate, ...]:
        return _one_by_one(actions, state, latency, accuracy, [-math.inf] * len(actions), objective, ahead)

    return weigh


def weigh_lazily(
    latency: LatencyOracle,
    accuracy: HopefulOracle,
    last_scores: dict[Hashable, float],
    objective: Objective = LATENCY,
    ahead: Ahead = unprepared,
) -> Weigh:
    """Weigh in turn, but leave out actions whose last score is higher than the best score of this step.

    Actions are weighed in ascending order of their last scores, new ones first. The steps are those of `weigh_in_turn`
    as long as no action becomes cheaper during the descent (lazy greedy, Minoux 1978).

    last_scores: from `scores_known`, or an empty dictionary for a new descent; every step updates it.
    ahead: see `weigh_in_turn`.
    """

    def weigh(actions: Sequence[Action], state: State) -> tuple[Candidate, ...]:
        keys = [_action_key(action.name, action.stage, action.block, action.wider, state.subnet) for action in actions]
        last = [last_scores.get(key, -math.inf) for key in keys]
        candidates = _one_by_one(actions, state, latency, accuracy, last, objective, ahead)
        last_scores.update(_scores(state, [candidate.to_record() for candidate in candidates]))
        return candidates

    return weigh


def weigh_in_parallel(
    latency: LatencyOracle, accuracy: AccuracyOracle, executor: Executor, objective: Objective = LATENCY
) -> Weigh:
    """Weigh all actions of a step at the same time; every evaluation is completed, since none knows another's score."""

    def weigh(actions: Sequence[Action], state: State) -> tuple[Candidate, ...]:
        oracles = {"latency": latency, "accuracy": patient(accuracy), "objective": objective}
        return tuple(executor.map(partial(weigh_action, state=state, **oracles), actions))

    return weigh


def weigh_action(
    action: Action,
    state: State,
    latency: LatencyOracle,
    accuracy: HopefulOracle,
    best_score: float = math.inf,
    last_score: float = -math.inf,
    objective: Objective = LATENCY,
) -> Candidate:
    """Compute the latency of an action, and its accuracy only if the action gains something and can still win.

    action: the action to weigh.
    state: the state before the step; saving and drop are relative to it.
    latency: milliseconds of an architecture.
    accuracy: percent of a subnet, or None as soon as it cannot reach its second argument.
    best_score: the lowest score of the actions weighed so far. An action that cannot reach it is given up.
    last_score: the score of the action when it was last weighed. If it exceeds `best_score`, the action is left out.
    objective: what the action gains. One that gains nothing is refused, whatever its accuracy: with the objective
        latency one that saves no time, with another one also a fast action that loses elsewhere, while one that is no
        faster may gain by its size.
    """
    latency_ms = latency(action.result.architecture)
    saved_ms = state.latency_ms - latency_ms
    gained, is_refused = _gain(action, state, latency_ms, objective)
    gain = None if objective.is_latency else gained
    if is_refused:
        return Refused(action, latency_ms, saved_ms, gain=gain)
    if last_score > best_score:
        return LeftOut(action, latency_ms, saved_ms, last_score, gain=gain)
    least_accuracy = _least_accuracy(state, best_score, gained)
    reached = accuracy(action.result, least_accuracy)
    if reached is None:
        return GivenUp(action, latency_ms, saved_ms, least_accuracy, gain=gain)
    return Weighed(action, latency_ms, saved_ms, reached, state.accuracy - reached, gain=gain)


def _gain(action: Action, state: State, latency_ms: float, objective: Objective) -> tuple[float, bool]:
    """What an action gains, and whether that is too little for its accuracy to matter."""
    before = objective.costs(state.subnet.architecture, state.latency_ms)
    gained = objective.gain(before, objective.costs(action.result.architecture, latency_ms))
    return gained, gained <= (objective.least_exchange(before) if action.name == "exchange" else 0.0)


def _least_accuracy(state: State, best_score: float, gained: float) -> float:
    return state.accuracy - best_score * gained - ROUNDING


def patient(accuracy: AccuracyOracle) -> HopefulOracle:
    """The oracle as a `HopefulOracle` that completes every evaluation."""
    return lambda subnet, _: accuracy(subnet)


def scores_known(records: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """The last score of every action, from the records of a descent: its start and its steps.

    A lazy descent that resumes from its records takes the same steps as one without an interruption.
    """
    known: dict[Hashable, float] = {}
    for before, step in pairwise(records):
        known |= _scores(State.from_record(before), step["candidates"])
    return known


def _one_by_one(
    actions: Sequence[Action],
    state: State,
    latency: LatencyOracle,
    accuracy: HopefulOracle,
    last_scores: Sequence[float],
    objective: Objective,
    ahead: Ahead,
) -> tuple[Candidate, ...]:
    """Candidates in the order of the actions, weighed in ascending order of last scores (stable)."""
    candidates: dict[int, Candidate] = {}
    best_score = math.inf
    order = sorted(range(len(actions)), key=last_scores.__getitem__)

    def coming(place: int) -> Iterator[tuple[Subnet, float]]:
        for action in (actions[index] for index in order[place:] if last_scores[index] <= best_score):
            gained, is_refused = _gain(action, state, latency(action.result.architecture), objective)
            if not is_refused:
                yield action.result, _least_accuracy(state, best_score, gained)

    for place, index in enumerate(order):
        ahead(coming(place))
        candidate = weigh_action(actions[index], state, latency, accuracy, best_score, last_scores[index], objective)
        if isinstance(candidate, Weighed):
            best_score = min(best_score, candidate.score)
        candidates[index] = candidate
    return tuple(candidates[index] for index in range(len(actions)))


def _scores(before: State, candidates: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """Scores by action, from records. For an action given up it is a lower bound."""
    scores: dict[Hashable, float] = {}
    for row in candidates:
        score = row["score"]
        if row["below"] is not None:
            score = (before.accuracy - row["below"]) / row.get("gain", row["saved_ms"])
        if score is not None:
            scores[_action_key(row["action"], row["stage"], row["block"], row["wider"], before.subnet)] = score
    return scores


def _action_key(name: str, stage: int | None, block: int | None, wider: int | None, before: Subnet) -> Hashable:
    """Identifies an action across steps: a block is identified by the place that it fills. A swap is another one if the
    block has become another kind since, a contraction if it has become another expansion, a loss of heads if it has
    fewer."""
    if stage is None or block is None:
        return name, stage, None, wider
    place, held = before.origins[stage - 1][block - 1], before.architecture.stages[stage - 1].blocks[block - 1]
    of_block = {"swap": (held.kind,), "contract": (held.mlp_ratio,), "prune": (num_heads_of(held),)}
    from_what = of_block.get(name, ())
    return name, stage, place, wider, *from_what
