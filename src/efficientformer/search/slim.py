"""Latency-driven slimming (paper, section 4.2): from the supernet down, by accuracy lost per millisecond saved.

The loop is handed its two oracles, a latency and an accuracy; it knows neither tables nor tensors. No torch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import BudgetError
from efficientformer.search.actions import Action, possible_actions
from efficientformer.search.importance import PathProbabilities
from efficientformer.search.subnet import Subnet

LatencyOracle = Callable[[Architecture], float]
AccuracyOracle = Callable[[Subnet], float]


@dataclass(frozen=True)
class State:
    """Where the descent stands: a subnet, its latency by the table, its top-1 by the supernet's weights."""

    subnet: Subnet
    latency_ms: float
    top1: float

    def to_record(self) -> dict[str, Any]:
        return {**self.subnet.to_json(), "latency_ms": self.latency_ms, "top1": self.top1}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "State":
        return cls(Subnet.from_json(record), record["latency_ms"], record["top1"])


@dataclass(frozen=True)
class Candidate:
    """An action weighed: `score` is the accuracy lost per millisecond saved, None when nothing is saved."""

    action: Action
    latency_ms: float
    saved_ms: float
    top1: float | None
    drop: float | None
    score: float | None

    def to_record(self) -> dict[str, Any]:
        return {
            "action": self.action.name,
            "stage": self.action.stage,
            "block": self.action.block,
            "text": str(self.action),
            "latency_ms": self.latency_ms,
            "saved_ms": self.saved_ms,
            "top1": self.top1,
            "drop": self.drop,
            "score": self.score,
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


def weigh(action: Action, state: State, latency: LatencyOracle, accuracy: AccuracyOracle) -> Candidate:
    """Latency first: an action that saves nothing is refused and its accuracy is never evaluated."""
    latency_ms = latency(action.result.architecture)
    saved_ms = state.latency_ms - latency_ms
    if saved_ms <= 0:
        return Candidate(action, latency_ms, saved_ms, None, None, None)
    top1 = accuracy(action.result)
    drop = state.top1 - top1
    return Candidate(action, latency_ms, saved_ms, top1, drop, drop / saved_ms)


def slim(
    start: State,
    alphas: Sequence[Sequence[PathProbabilities]],
    space: SearchSpace,
    *,
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    executor: Executor | None = None,
) -> Iterator[Step]:
    """Descend one action at a time until nothing is left to take; the caller stops when its budgets are met.

    Each step takes the action with the lowest accuracy drop per millisecond, so gains (negative drops) come first; of
    equal scores the one that saves more wins. An `executor` weighs the actions of a step side by side. Raises
    BudgetError when no action saves time any more.
    """
    state = start
    weigh_all = map if executor is None else executor.map
    while True:
        weigh_here = partial(weigh, state=state, latency=latency, accuracy=accuracy)
        candidates = tuple(weigh_all(weigh_here, possible_actions(state.subnet, alphas, space)))
        taken = best_candidate(candidates)
        if taken is None:
            raise BudgetError(
                f"Slimming ended at {state.latency_ms:.3f} ms: no action saves time any more. "
                f"Ask for a budget of at least {state.latency_ms:.3f} ms or a search space with smaller networks."
            )
        chosen = candidates[taken]
        assert chosen.top1 is not None
        state = State(chosen.action.result, chosen.latency_ms, chosen.top1)
        yield Step(candidates, taken, state)


def best_candidate(candidates: Sequence[Candidate]) -> int | None:
    """Index of the action to take, or None when every one is refused."""
    allowed = [
        (candidate.score, -candidate.saved_ms, index)
        for index, candidate in enumerate(candidates)
        if candidate.score is not None and math.isfinite(candidate.score)
    ]
    return min(allowed)[2] if allowed else None
