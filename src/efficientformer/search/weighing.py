"""How a step weighs its actions: in turn, lazily, or in parallel. No torch.

A strategy gets the actions of a step and the state that it starts from, and returns one candidate for each action, in
the same order. All strategies know the latency of every action; they differ in whose accuracy they ask for, and when.
Judging is what a descent takes its time for.
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
"""An accuracy oracle that gives up, with None, as soon as the accuracy cannot reach the second argument."""
Weigh = Callable[[Sequence[Action], State], tuple[Candidate, ...]]
"""A strategy: one candidate for each action, in the order of the actions."""

ROUNDING = 1e-9
LEAST_EXCHANGE = 0.005
"""Share of the latency that an exchange of channels has to save: below that a table cannot tell, and a descent that is
lured by the noise of accuracies would wander from width to width."""


def weigh_in_turn(latency: LatencyOracle, accuracy: HopefulOracle) -> Weigh:
    """Weigh one action after another; each has to reach the best score before it, or is given up.

    The step takes the same action as if every one were judged to its end. For that wrap an oracle in `patient`.
    """

    def weigh(actions: Sequence[Action], state: State) -> tuple[Candidate, ...]:
        return _one_by_one(actions, state, latency, accuracy, [-math.inf] * len(actions))

    return weigh


def weigh_lazily(latency: LatencyOracle, accuracy: HopefulOracle, last_scores: dict[Hashable, float]) -> Weigh:
    """Weigh in turn, but leave out what cost more, when it was last weighed, than the best of the step costs now.

    Actions are weighed from the lowest last score on, new ones first. The steps are those of `weigh_in_turn` as long as
    no action becomes cheaper on the way (lazy greedy, Minoux 1978).

    last_scores: those of `scores_known`, or an empty dictionary for a new descent. Every step brings them up to date.
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
    """Weigh all actions of a step at the same time, each to its end: no action can wait for the score of another."""

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
    """Ask for the latency first, and for the accuracy only of an action that saves time and can still win.

    action: what to weigh.
    state: where the step starts from; the action saves and loses compared with it.
    latency: milliseconds of an architecture. An action that saves none is refused, whatever its accuracy.
    accuracy: percent of a subnet, or None as soon as it cannot reach its second argument.
    best_score: the lowest score of the actions weighed before, which this one has to reach, or is given up.
    last_score: what the action cost when it was last weighed. Where that exceeds `best_score`, it is left out.
    """
    latency_ms = latency(action.result.architecture)
    saved_ms = state.latency_ms - latency_ms
    least_ms = LEAST_EXCHANGE * state.latency_ms if action.name == "exchange" else 0.0
    if saved_ms <= least_ms:
        return Refused(action, latency_ms, saved_ms)
    if last_score > best_score:
        return LeftOut(action, latency_ms, saved_ms, last_score)
    least_accuracy = state.accuracy - best_score * saved_ms - ROUNDING
    judged = accuracy(action.result, least_accuracy)
    if judged is None:
        return GivenUp(action, latency_ms, saved_ms, least_accuracy)
    return Weighed(action, latency_ms, saved_ms, judged, state.accuracy - judged)


def patient(accuracy: AccuracyOracle) -> HopefulOracle:
    """The oracle as one that never gives up."""
    return lambda subnet, _: accuracy(subnet)


def scores_known(records: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """What every action cost when it was last weighed, by the records of a descent: its start and its steps.

    A lazy descent that goes on from its records takes the steps that it would have taken without a stop.
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
    """Candidates in the order of the actions, weighed from the lowest last score on, ties in that order as well."""
    candidates: dict[int, Candidate] = {}
    best_score = math.inf
    for index in sorted(range(len(actions)), key=last_scores.__getitem__):
        candidate = weigh_action(actions[index], state, latency, accuracy, best_score, last_scores[index])
        if isinstance(candidate, Weighed):
            best_score = min(best_score, candidate.score)
        candidates[index] = candidate
    return tuple(candidates[index] for index in range(len(actions)))


def _scores(before: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """Scores by action, of records; of an action given up, the least that its score can be."""
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
    """What an action does, whatever else has happened: a block is known by the MetaPath that it comes from."""
    return name, stage, None if block is None else origins[stage - 1][block - 1], wider
