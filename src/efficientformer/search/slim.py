"""Latency-driven slimming (paper, section 4.2): from the supernet down, by accuracy lost per millisecond saved.

The loop lists the actions of a step, has them weighed by one of the strategies of `weighing.py`, and takes the best. It
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
from efficientformer.search.importance import PathProbabilities
from efficientformer.search.weighing import LatencyOracle, Weigh

Stride = Callable[[State], IsEnough]
"""How far the actions of a step go: from the state that the step starts from, what is enough for an action's result."""


@dataclass(frozen=True)
class Step:
    """One turn of the loop: every candidate, which of them was taken (by its index), and the state that it led to."""

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
    """The paper's stride: an action is one block or one width step."""
    return once


def slim(
    start: State,
    alphas: Sequence[Sequence[PathProbabilities]],
    space: SearchSpace,
    weigh: Weigh,
    *,
    action_set: ActionSet = "paper",
    stride: Stride = shortest,
    recovered: Callable[[State], State] | None = None,
) -> Iterator[Step]:
    """Descend one action at a time until nothing is left to take; the caller stops when its budgets are met.

    Each step takes the action with the lowest accuracy drop per millisecond, so gains (negative drops) come first; of
    equal scores the one that saves more wins.

    start: the state to descend from, such as the largest network of the space.
    alphas: probabilities of the paths of every supernet block, stage by stage; importances are computed from them.
    space: the search space, which says how narrow a stage may become.
    weigh: a strategy of `weighing.py`, such as `weigh_in_turn(latency, accuracy)`.
    action_set: what a step may choose from. Where none of the paper's actions saves time, for example since all widths
        of the least important stage cost alike on this device, every action is weighed.
    stride: how far an action goes; with `save_at_least` fewer networks are judged, and each loses more at once.
    recovered: may train the network of a step before the next one, and returns the state by the new weights.

    Raises BudgetError when no action saves time any more.
    """
    # Only the paper's set leaves actions out: "exchange" holds all those of "every".
    choices: tuple[ActionSet, ...] = ("paper", "every") if action_set == "paper" else (action_set,)
    state = start
    while True:
        for choice in choices:
            candidates = weigh(possible_actions(state.subnet, alphas, space, choice, stride(state)), state)
            if best := best_candidate(candidates):
                break
        else:
            raise BudgetError(
                f"Slimming ended at {state.latency_ms:.3f} ms: no action saves time any more. "
                f"Ask for a budget of at least {state.latency_ms:.3f} ms or a search space with smaller networks."
            )
        taken, chosen = best
        state = chosen.result if recovered is None else recovered(chosen.result)
        yield Step(candidates, taken, state)


def best_candidate(candidates: Sequence[Candidate]) -> tuple[int, Weighed] | None:
    """The action to take, behind its index, or None when no action has a score."""
    allowed = [
        (candidate.score, -candidate.saved_ms, index, candidate)
        for index, candidate in enumerate(candidates)
        if isinstance(candidate, Weighed) and math.isfinite(candidate.score)
    ]
    return min(allowed)[2:] if allowed else None


def save_at_least(least_saving: Callable[[float], float], latency: LatencyOracle) -> Stride:
    """The stride of actions that go on until they save enough, where they can.

    `least_saving` gives the milliseconds that an action has to save, by those that the network takes.
    """

    def stride(state: State) -> IsEnough:
        most_ms = state.latency_ms - least_saving(state.latency_ms)
        return lambda subnet: latency(subnet.architecture) <= most_ms

    return stride


def stride_ms(share: float, latency_ms: float, target_ms: float) -> float:
    """A share of the latency, but no further than the target: what lies beyond would cost accuracy for nothing."""
    return min(share * latency_ms, max(0.0, latency_ms - target_ms))
