"""Regularized evolution over subnets (Real et al., 2019), a more expensive alternative to slimming. No torch.

In each step the best of a few random members of the population is mutated; the mutant replaces the oldest member.
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
    """The best of `num_evaluations` distinct subnets within the budget, or of fewer if no new mutants are found.

    The first population is random, with latencies between half the budget and the budget; if there is no such subnet,
    it is the smallest network. Raises BudgetError when even that is too slow.
    """
    smallest = Subnet.smallest(space)
    if latency(smallest.architecture) > budget_ms:
        raise BudgetError(f"No network of the space takes {budget_ms:.3f} ms or less. Ask for a larger budget.")
    first = random_subnets(
        space,
        latency,
        fastest_ms=budget_ms / 2,
        slowest_ms=budget_ms,
        count=min(POPULATION, num_evaluations),
        rng=rng,
    )
    scores = {subnet: accuracy(subnet) for subnet in first or [smallest]}
    population = deque(scores, maxlen=POPULATION)
    while len(scores) < num_evaluations:
        parent = max(rng.sample(population, min(TOURNAMENT, len(population))), key=scores.__getitem__)
        child = new_mutant(parent, space, rng, known=scores, latency=latency, budget_ms=budget_ms)
        if child is None:
            break
        scores[child] = accuracy(child)
        population.append(child)
    return max(scores, key=scores.__getitem__)
