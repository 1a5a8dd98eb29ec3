"""Which networks of a budget deserve a short training of their own. No torch.

A supernet compares networks of the same depths better than others: blocks that its logits disfavor are trained less. So
its word is taken among networks of the same depths, and the depths are left to the trials.
"""

import random

from efficientformer.arch.space import SearchSpace
from efficientformer.search.candidates import State
from efficientformer.search.rivals.baselines import random_subnets
from efficientformer.search.weighing import AccuracyOracle, LatencyOracle

DRAWN_EACH = 6
"""Random networks that are judged for every contender."""
LEAST = 0.97
"""Share of the budget that a random network has to take."""


def contenders(
    found: State,
    space: SearchSpace,
    *,
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    budget_ms: float,
    count: int,
    rng: random.Random,
) -> list[State]:
    """The network found, first, and of random ones nearly as slow as the budget the best of each other depths; fewer
    than `count` where the draw has no more depths."""
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
    best.pop(found.subnet.architecture.depths, None)
    return [found, *sorted(best.values(), key=lambda state: -state.accuracy)[: count - 1]]
