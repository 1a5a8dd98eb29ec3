"""Use the latency that slimming leaves unused: a hill climb from the network that met the budget. No torch.

The paper's actions only shrink a network, and the last one may save more than the budget requires. Polishing mutates
the network within the budget, larger or smaller, and keeps each mutant with a better score.
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
    """Yield each state that beats the one before it, from at most `num_evaluations` mutants within the budget."""
    best, evaluated = start, {start.subnet}
    for _ in range(num_evaluations):
        child = new_mutant(best.subnet, space, rng, known=evaluated, latency=latency, budget_ms=budget_ms)
        if child is None:
            return
        evaluated.add(child)
        state = State(child, latency(child.architecture), accuracy(child))
        if (state.accuracy, -state.latency_ms) > (best.accuracy, -best.latency_ms):
            best = state
            yield state
