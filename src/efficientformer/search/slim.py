"""Latency-driven slimming (paper, section 4.2): from the supernet down, by accuracy lost per millisecond saved.

The loop is handed its two oracles, a latency and an accuracy; it knows neither tables nor tensors. No torch.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import BudgetError
from efficientformer.search.actions import Action, ActionSet, IsEnough, once, possible_actions
from efficientformer.search.importance import PathProbabilities
from efficientformer.search.subnet import Subnet

LatencyOracle = Callable[[Architecture], float]
AccuracyOracle = Callable[[Subnet], float]
HopefulOracle = Callable[[Subnet, float], float | None]
"""An accuracy oracle that gives up, with None, as soon as the accuracy cannot reach the second argument."""
LeastSaving = Callable[[float], float]
"""Milliseconds that an action has to save, by those that the network takes."""

ROUNDING = 1e-9
LEAST_EXCHANGE = 0.005
"""Share of the latency that an exchange of channels has to save: below that a table cannot tell, and a descent that is
lured by the noise of accuracies would wander from width to width."""


@dataclass(frozen=True)
class State:
    """Where the descent stands: a subnet, its latency by the table, its accuracy by the supernet's weights."""

    subnet: Subnet
    latency_ms: float
    accuracy: float

    def to_record(self) -> dict[str, Any]:
        return {**self.subnet.to_json(), "latency_ms": self.latency_ms, "accuracy": self.accuracy}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "State":
        return cls(Subnet.from_json(record), record["latency_ms"], record["accuracy"])


@dataclass(frozen=True)
class Candidate:
    """An action weighed: `score` is the accuracy lost per millisecond saved, None when nothing is saved.

    It is None as well where judging ended early, since accuracy would be `below` the least that could win the step, and
    where a lazy step left it out for its `last_score`.
    """

    action: Action
    latency_ms: float
    saved_ms: float
    accuracy: float | None
    drop: float | None
    score: float | None
    below: float | None = None
    last_score: float | None = None

    def to_record(self) -> dict[str, Any]:
        return {
            "action": self.action.name,
            "stage": self.action.stage,
            "block": self.action.block,
            "wider": self.action.wider,
            "further": [list(place) for place in self.action.further],
            "text": str(self.action),
            "latency_ms": self.latency_ms,
            "saved_ms": self.saved_ms,
            "accuracy": self.accuracy,
            "drop": self.drop,
            "score": self.score,
            "below": self.below,
            "last_score": self.last_score,
        }


@dataclass(frozen=True)
class Step:
    """One turn of the loop: everything weighed, and what was taken."""

    candidates: tuple[Candidate, ...]
    taken: int
    state: State

    def to_record(self, index: int) -> dict[str, Any]:
        return {
            "step": index,
            "candidates": [candidate.to_record() for candidate in self.candidates],
            "taken": self.taken,
            **self.state.to_record(),
        }


def weigh(
    action: Action,
    state: State,
    latency: LatencyOracle,
    accuracy: HopefulOracle,
    best_score: float = math.inf,
    last_score: float = -math.inf,
) -> Candidate:
    """Latency first: an action that saves nothing is refused and its accuracy is never evaluated.

    `best_score` is the lowest of the candidates weighed before, which this one has to reach; it is left out where its
    `last_score` did not.
    """
    latency_ms = latency(action.result.architecture)
    saved_ms = state.latency_ms - latency_ms
    least_ms = LEAST_EXCHANGE * state.latency_ms if action.name == "exchange" else 0.0
    if saved_ms <= least_ms:
        return Candidate(action, latency_ms, saved_ms, None, None, None)
    if last_score > best_score:
        return Candidate(action, latency_ms, saved_ms, None, None, None, last_score=last_score)
    least_accuracy = state.accuracy - best_score * saved_ms - ROUNDING
    found = accuracy(action.result, least_accuracy)
    if found is None:
        return Candidate(action, latency_ms, saved_ms, None, None, None, below=least_accuracy)
    drop = state.accuracy - found
    return Candidate(action, latency_ms, saved_ms, found, drop, drop / saved_ms)


def slim(
    start: State,
    alphas: Sequence[Sequence[PathProbabilities]],
    space: SearchSpace,
    *,
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    action_set: ActionSet = "paper",
    least_saving: LeastSaving | None = None,
    hopeful: HopefulOracle | None = None,
    executor: Executor | None = None,
    recovered: Callable[[State], State] | None = None,
    last_scores: dict[Hashable, float] | None = None,
) -> Iterator[Step]:
    """Descend one action at a time until nothing is left to take; the caller stops when its budgets are met.

    Each step takes the action with the lowest accuracy drop per millisecond, so gains (negative drops) come first; of
    equal scores the one that saves more wins. `action_set` says what it may choose from; where none of that saves time,
    such as channels of a stage whose widths cost alike on this device, every action is weighed. With `least_saving`, an
    action goes on until it saves as much, where it can: fewer networks are judged, and each loses more at once. An
    `executor` weighs the actions of a step side by side; without one, `hopeful` takes the place of `accuracy`, and may
    give up on what cannot win any more. `recovered` may train the network of a step before the next one, and says what
    it is worth then. With `last_scores`, those of `scores_known`, which are kept up to date, steps are lazy: an action
    that cost more when it was last weighed than the best of the step costs now is left out. The same actions are taken
    as long as none becomes cheaper on the way (lazy greedy, Minoux 1978). That goes with no executor.
    Raises BudgetError when no action saves time any more.
    """
    state, candidates = start, ()
    while True:
        for choice in (action_set, "every"):
            actions = possible_actions(state.subnet, alphas, space, choice, _enough(state, latency, least_saving))
            if executor is None:
                candidates = _weigh_in_turn(actions, state, latency, hopeful or _patient(accuracy), last_scores or {})
            else:
                judge = partial(weigh, state=state, latency=latency, accuracy=_patient(accuracy))
                candidates = tuple(executor.map(judge, actions))
            taken = best_candidate(candidates)
            if taken is not None:
                break
        else:
            raise BudgetError(
                f"Slimming ended at {state.latency_ms:.3f} ms: no action saves time any more. "
                f"Ask for a budget of at least {state.latency_ms:.3f} ms or a search space with smaller networks."
            )
        if last_scores is not None:
            last_scores |= _scores(state.to_record(), [candidate.to_record() for candidate in candidates])
        chosen = candidates[taken]
        assert chosen.accuracy is not None
        state = State(chosen.action.result, chosen.latency_ms, chosen.accuracy)
        if recovered is not None:
            state = recovered(state)
        yield Step(candidates, taken, state)


def stride_ms(share: float, latency_ms: float, target_ms: float) -> float:
    """A share of the latency, but no further than the target: what lies beyond would cost accuracy for nothing."""
    return min(share * latency_ms, max(0.0, latency_ms - target_ms))


def _enough(state: State, latency: LatencyOracle, least_saving: LeastSaving | None) -> IsEnough:
    if least_saving is None:
        return once
    most_ms = state.latency_ms - least_saving(state.latency_ms)
    return lambda subnet: latency(subnet.architecture) <= most_ms


def _weigh_in_turn(
    actions: Sequence[Action],
    state: State,
    latency: LatencyOracle,
    accuracy: HopefulOracle,
    last_scores: Mapping[Hashable, float],
) -> tuple[Candidate, ...]:
    """The actions weighed, those that cost least when they were last weighed first; in their own order."""
    origins = state.subnet.origins
    asked = [_what(action.name, action.stage, action.block, action.wider, origins) for action in actions]
    last = [last_scores.get(what, -math.inf) for what in asked]
    candidates, best_score = {}, math.inf
    for index in sorted(range(len(actions)), key=last.__getitem__):
        candidates[index] = candidate = weigh(actions[index], state, latency, accuracy, best_score, last[index])
        if candidate.score is not None:
            best_score = min(best_score, candidate.score)
    return tuple(candidates[index] for index in range(len(actions)))


def scores_known(records: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """What every action cost when it was last weighed, by the records of a descent: its start and its steps."""
    known: dict[Hashable, float] = {}
    for before, step in pairwise(records):
        known |= _scores(before, step["candidates"])
    return known


def _patient(accuracy: AccuracyOracle) -> HopefulOracle:
    return lambda subnet, _: accuracy(subnet)


def best_candidate(candidates: Sequence[Candidate]) -> int | None:
    """Index of the action to take, or None when every one is refused."""
    allowed = [
        (candidate.score, -candidate.saved_ms, index)
        for index, candidate in enumerate(candidates)
        if candidate.score is not None and math.isfinite(candidate.score)
    ]
    return min(allowed)[2] if allowed else None


def _scores(before: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> dict[Hashable, float]:
    """Scores by what is weighed; of what was given up on, the least that its score can be."""
    found: dict[Hashable, float] = {}
    for row in candidates:
        score = row["score"]
        if row["below"] is not None:
            score = (before["accuracy"] - row["below"]) / row["saved_ms"]
        if score is not None:
            found[_what(row["action"], row["stage"], row["block"], row["wider"], before["origins"])] = score
    return found


def _what(
    name: str, stage: int, block: int | None, wider: int | None, origins: Sequence[Sequence[int]]
) -> tuple[str, int, int | None, int | None]:
    """What an action does, whatever else has happened: a block is known by the MetaPath that it comes from."""
    return name, stage, None if block is None else origins[stage - 1][block - 1], wider
