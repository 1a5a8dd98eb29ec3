"""What slimming leaves of a budget, put to use: a walk uphill from the network that met it. No torch.

The paper's actions only take away, and one of them may take more than the budget asks for. Here the network mutates in
both directions within the budget, and a mutant that is judged better takes its place.
"""

import random
from collections.abc import Iterator

from efficientformer.arch.space import SearchSpace
from efficientformer.search.candidates import State
from efficientformer.search.mutation import new_mutant
from efficientformer.search.weighing import AccuracyOracle, LatencyOracle


def polish(
    start: State,
    space: SearchSpace,
    *,
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    budget_ms: float,
    num_evaluations: int,
    rng: random.Random,
) -> Iterator[State]:
    """Every state better than the one before, found by judging at most `num_evaluations` mutants within the budget."""
    best, judged = start, {start.subnet}
    for _ in range(num_evaluations):
        child = new_mutant(best.subnet, space, rng, known=judged, latency=latency, budget_ms=budget_ms)
        if child is None:
            return
        judged.add(child)
        state = State(child, latency(child.architecture), accuracy(child))
        if (state.accuracy, -state.latency_ms) > (best.accuracy, -best.latency_ms):
            best = state
            yield state
