"""Latency-driven slimming (paper, section 4.2): shrink the supernet by accuracy lost per gain of an objective, such as
milliseconds saved.

The loop lists the actions of a step, weighs them with one of the strategies of `weighing.py`, and takes the best. It
knows neither tables nor tensors. No torch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from efficientformer.arch.space import SearchSpace
from efficientformer.errors import BudgetError
from efficientformer.search.actions import ActionSet, IsEnough, once, possible_actions
from efficientformer.search.candidates import Candidate, State, Weighed
from efficientformer.search.importance import Importances
from efficientformer.search.weighing import LatencyOracle, Weigh

Stride = Callable[[State], IsEnough]
"""How much an action of a step saves: given the state before the step, when the result of an action is enough."""


@dataclass(frozen=True)
class Step:
    """One step: every candidate, the index of the one taken, and the state after it."""

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


def shortest(_: State) -> IsEnough:
    """The paper's stride: an action changes one block or one width step."""
    return once


def slim(
    start: State,
    importances: Importances,
    space: SearchSpace,
    weigh: Weigh,
    *,
    action_set: ActionSet = "paper",
    stride: Stride = shortest,
    recovered: Callable[[State], State] | None = None,
) -> Iterator[Step]:
    """Take one action at a time until no action is left; the caller stops when its budgets are met.

    Each step takes the action with the lowest accuracy drop per gain of the objective, which the strategy knows, so
    gains in accuracy (negative drops) come first. Of actions with equal scores, the one that gains more wins.

    start: the state to start from, such as the largest network of the space.
    importances: of every place of the space, such as `path_importances` of a supernet's paths.
    space: the search space, which bounds the widths.
    weigh: a strategy of `weighing.py`, such as `weigh_in_turn(latency, accuracy)`.
    action_set: what a step may choose from. If none of the paper's actions gains anything, for example because all
        widths of the least important stage are equally fast on this device, the step weighs every action.
    stride: how much an action saves. With `save_at_least`, steps are larger and fewer networks are evaluated.
    recovered: called after each step; may train the network, and returns the state with the new weights' accuracy.

    Raises BudgetError when no action gains anything any more.
    """
    # Only the paper's set lacks actions of "every": "exchange" is a superset of it.
    choices: tuple[ActionSet, ...] = ("paper", "every") if action_set == "paper" else (action_set,)
    state, candidates = start, tuple[Candidate, ...]()
    while True:
        for choice in choices:
            candidates = weigh(possible_actions(state.subnet, importances, space, choice, stride(state)), state)
            if best := best_candidate(candidates):
                break
        else:
            raise BudgetError(
                f"Slimming ended at {state.latency_ms:.3f} ms: no action saves {_saving(candidates)} any more. "
                f"Ask for a budget of at least {state.latency_ms:.3f} ms or a search space with smaller networks."
            )
        taken, chosen = best
        state = chosen.result if recovered is None else recovered(chosen.result)
        yield Step(candidates, taken, state)


def _saving(candidates: Sequence[Candidate]) -> str:
    return "time" if all(candidate.gain is None for candidate in candidates) else "anything"


def best_candidate(candidates: Sequence[Candidate]) -> tuple[int, Weighed] | None:
    """(index, candidate) of the action to take, or None when no action has a score."""
    allowed = [
        (candidate.score, -candidate.gained, index, candidate)
        for index, candidate in enumerate(candidates)
        if isinstance(candidate, Weighed) and math.isfinite(candidate.score)
    ]
    return min(allowed)[2:] if allowed else None


def save_at_least(least_saving: Callable[[float], float], latency: LatencyOracle) -> Stride:
    """A stride for actions that continue until they save enough, or as long as they can.

    `least_saving` maps the latency of the network to the least that an action has to save, both in milliseconds.
    """

    def stride(state: State) -> IsEnough:
        most_ms = state.latency_ms - least_saving(state.latency_ms)
        return lambda subnet: latency(subnet.architecture) <= most_ms

    return stride


def stride_ms(share: float, latency_ms: float, target_ms: float) -> float:
    """A share of the latency, but never beyond the target: to save more would cost accuracy for nothing."""
    return min(share * latency_ms, max(0.0, latency_ms - target_ms))
