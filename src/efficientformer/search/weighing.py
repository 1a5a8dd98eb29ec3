"""How a step weighs its actions: in turn, lazily, or in parallel. No torch.

A strategy takes the actions of a step and the state before it, and returns one candidate per action, in the same order.
All strategies compute the latency of every action. They differ in which accuracies they compute, and when: evaluating
accuracy takes nearly all the time of a descent.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import pairwise
from typing import Any

from efficientformer.arch.spec import Architecture
from efficientformer.search.actions import Action
from efficientformer.search.candidates import Candidate, GivenUp, LeftOut, Refused, State, Weighed
from efficientformer.search.subnet import Subnet

LatencyOracle = Callable[[Architecture], float]
AccuracyOracle = Callable[[Subnet], float]
HopefulOracle = Callable[[Subnet, float], float | None]
"""An accuracy oracle that returns None as soon as the accuracy cannot reach the second argument."""
Weigh = Callable[[Sequence[Action], State], tuple[Candidate, ...]]
"""A strategy: one candidate per action, in the order of the actions."""

ROUNDING = 1e-9
LEAST_EXCHANGE = 0.005
"""Least saving of an exchange of channels, as a fraction of the latency. A table does not resolve smaller savings, and
a descent that follows the noise of accuracies would wander from width to width."""


def weigh_in_turn(latency: LatencyOracle, accuracy: HopefulOracle) -> Weigh:
    """Weigh one action after another; each is given up once it cannot reach the best score before it.

    The step takes the same action as if every evaluation were completed. To complete them, wrap the oracle in
    `patient`.
    """

    def weigh(actions: Sequence[Action], state: State) -> tuple[Candidate, ...]:
        return _one_by_one(actions, state, latency, accuracy, [-math.inf] * len(actions))

    return weigh


def weigh_lazily(latency: LatencyOracle, accuracy: HopefulOracle, last_scores: dict[Hashable, float]) -> Weigh:
    """Weigh in turn, but leave out actions whose last score is higher than the best score of this step.

    Actions are weighed in ascending order of their last scores, new ones first. The steps are those of `weigh_in_turn`
    as long as no action becomes cheaper during the descent (lazy greedy, Minoux 1978).

    last_scores: from `scores_known`, or an empty dictionary for a new descent; every step updates it.
    """

    def weigh(actions: Sequence[Action], state: State) -> tuple[Candidate, ...]:
        origins = state.subnet.origins
        keys = [_action_key(action.name, action.stage, action.block, action.wider, origins) for action in actions]
        last = [last_scores.get(key, -math.inf) for key in keys]
        candidates = _one_by_one(actions, state, latency, accuracy, last)
        last_scores.update(_scores(state.to_record(), [candidate.to_record() for candidate in candidates]))
        return candidates

    return weigh


def weigh_in_parallel(latency: LatencyOracle, accuracy: AccuracyOracle, executor: Executor) -> Weigh:
    """Weigh all actions of a step at the same time; every evaluation is completed, since none knows another's score."""

    def weigh(actions: Sequence[Action], state: State) -> tuple[Candidate, ...]:
        weigh_one = partial(weigh_action, state=state, latency=latency, accuracy=patient(accuracy))
        return tuple(executor.map(weigh_one, actions))

    return weigh


def weigh_action(
    action: Action,
    state: State,
    latency: LatencyOracle,
    accuracy: HopefulOracle,
    best_score: float = math.inf,
    last_score: float = -math.inf,
) -> Candidate:
    """Compute the latency of an action, and its accuracy only if the action saves time and can still win.

    action: the action to weigh.
    state: the state before the step; saving and drop are relative to it.
    latency: milliseconds of an architecture. An action that saves none is refused, whatever its accuracy.
    accuracy: percent of a subnet, or None as soon as it cannot reach its second argument.
    best_score: the lowest score of the actions weighed so far. An action that cannot reach it is given up.
    last_score: the score of the action when it was last weighed. If it exceeds `best_score`, the action is left out.
    """
    latency_ms = latency(action.result.architecture)
    saved_ms = state.latency_ms - latency_ms
    least_ms = LEAST_EXCHANGE * state.latency_ms if action.name == "exchange" else 0.0
    if saved_ms <= least_ms:
        return Refused(action, latency_ms, saved_ms)
    if last_score > best_score:
        return LeftOut(action, latency_ms, saved_ms, last_score)
    least_accuracy = state.accuracy - best_score * saved_ms - ROUNDING
    reached = accuracy(action.result, least_accuracy)
    if reached is None:
        return GivenUp(action, latency_ms, saved_ms, least_accuracy)
    return Weighed(action, latency_ms, saved_ms, reached, state.accuracy - reached)


def patient(accuracy: AccuracyOracle) -> HopefulOracle:
    """The oracle as a `HopefulOracle` that completes every evaluation."""
    return lambda subnet, _: accuracy(subnet)


def scores_known(records: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """The last score of every action, from the records of a descent: its start and its steps.

    A lazy descent that resumes from its records takes the same steps as one without an interruption.
    """
    known: dict[Hashable, float] = {}
    for before, step in pairwise(records):
        known |= _scores(before, step["candidates"])
    return known


def _one_by_one(
    actions: Sequence[Action],
    state: State,
    latency: LatencyOracle,
    accuracy: HopefulOracle,
    last_scores: Sequence[float],
) -> tuple[Candidate, ...]:
    """Candidates in the order of the actions, weighed in ascending order of last scores (stable)."""
    candidates: dict[int, Candidate] = {}
    best_score = math.inf
    for index in sorted(range(len(actions)), key=last_scores.__getitem__):
        candidate = weigh_action(actions[index], state, latency, accuracy, best_score, last_scores[index])
        if isinstance(candidate, Weighed):
            best_score = min(best_score, candidate.score)
        candidates[index] = candidate
    return tuple(candidates[index] for index in range(len(actions)))


def _scores(before: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """Scores by action, from records. For an action given up it is a lower bound."""
    scores: dict[Hashable, float] = {}
    for row in candidates:
        score = row["score"]
        if row["below"] is not None:
            score = (before["accuracy"] - row["below"]) / row["saved_ms"]
        if score is not None:
            scores[_action_key(row["action"], row["stage"], row["block"], row["wider"], before["origins"])] = score
    return scores


def _action_key(
    name: str, stage: int, block: int | None, wider: int | None, origins: Sequence[Sequence[int]]
) -> tuple[str, int, int | None, int | None]:
    """Identifies an action across steps: a block is identified by the MetaPath that it comes from."""
    return name, stage, None if block is None else origins[stage - 1][block - 1], wider
