"""Regularized evolution over subnets (Real et al., 2019), the costly rival of slimming. No torch.

The oldest of a population dies, whatever its worth; the best of a few drawn at random has a mutant as its heir.
"""

import random
from collections import deque

from efficientformer.arch.space import SearchSpace
from efficientformer.errors import BudgetError
from efficientformer.search.mutation import new_mutant
from efficientformer.search.rivals.baselines import random_subnets
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import AccuracyOracle, LatencyOracle

POPULATION = 32
TOURNAMENT = 8


def evolve(
    space: SearchSpace,
    *,
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    budget_ms: float,
    num_evaluations: int,
    rng: random.Random,
) -> Subnet:
    """The best of `num_evaluations` different subnets within the budget; of fewer where mutants run out.

    The first population is random, between half the budget and all of it, or else the smallest network alone. Raises
    BudgetError when even that is too slow.
    """
    smallest = Subnet.compose(space, space.min_widths, [(0,)] * 4, 0)
    if latency(smallest.architecture) > budget_ms:
        raise BudgetError(f"No network of the space takes {budget_ms:.3f} ms or less.")
    first = random_subnets(
        space,
        latency,
        fastest_ms=budget_ms / 2,
        slowest_ms=budget_ms,
        count=min(POPULATION, num_evaluations),
        rng=rng,
    )
    judged = {subnet: accuracy(subnet) for subnet in first or [smallest]}
    population = deque(judged, maxlen=POPULATION)
    while len(judged) < num_evaluations:
        parent = max(rng.sample(population, min(TOURNAMENT, len(population))), key=judged.__getitem__)
        child = new_mutant(parent, space, rng, known=judged, latency=latency, budget_ms=budget_ms)
        if child is None:
            break
        judged[child] = accuracy(child)
        population.append(child)
    return max(judged, key=judged.__getitem__)
