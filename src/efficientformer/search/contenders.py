"""Which networks of a budget are worth a short training of their own. No torch.

A supernet ranks networks of equal depths more reliably than others, because blocks with low logits are trained less. So
its scores choose among networks of equal depths, and short trainings choose among the depths.
"""

import random

from efficientformer.arch.space import SearchSpace
from efficientformer.search.candidates import State
from efficientformer.search.rivals.baselines import random_subnets
from efficientformer.search.weighing import AccuracyOracle, LatencyOracle

DRAWN_EACH = 6
"""Random networks that are scored for every contender."""
LEAST = 0.97
"""Smallest latency of a random network, as a fraction of the budget."""


def contenders(
    slimmed: State,
    space: SearchSpace,
    *,
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    budget_ms: float,
    count: int,
    rng: random.Random,
) -> list[State]:
    """The network that slimming found, then the best random network of each other combination of depths.

    Random networks are almost as slow as the budget. The list is shorter than `count` when the sample has fewer
    combinations of depths.
    """
    best: dict[tuple[int, ...], State] = {}
    drawn = random_subnets(
        space,
        latency,
        fastest_ms=LEAST * budget_ms,
        slowest_ms=budget_ms,
        count=DRAWN_EACH * (count - 1),
        rng=rng,
    )
    for subnet in drawn:
        state = State(subnet, latency(subnet.architecture), accuracy(subnet))
        depths = subnet.architecture.depths
        if depths not in best or state.accuracy > best[depths].accuracy:
            best[depths] = state
    best.pop(slimmed.subnet.architecture.depths, None)
    return [slimmed, *sorted(best.values(), key=lambda state: -state.accuracy)[: count - 1]]
