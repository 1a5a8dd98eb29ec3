"""Regularized evolution over subnets (Real et al., 2019), the costly rival of slimming. No torch.

The oldest of a population dies, whatever its worth; the best of a few drawn at random has a mutant as its heir.
"""

import random
from collections import deque
from collections.abc import Callable

from efficientformer.arch.space import SearchSpace
from efficientformer.errors import BudgetError
from efficientformer.search.baselines import random_subnets
from efficientformer.search.slim import AccuracyOracle, LatencyOracle
from efficientformer.search.subnet import Subnet

POPULATION = 32
TOURNAMENT = 8
MAX_WALKS, MAX_MUTATIONS = 200, 8


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

    def is_wanted(subnet: Subnet) -> bool:
        return subnet not in judged and latency(subnet.architecture) <= budget_ms

    while len(judged) < num_evaluations:
        parent = max(rng.sample(population, min(TOURNAMENT, len(population))), key=judged.__getitem__)
        child = _new_mutant(
            parent, space, rng, lambda net: net not in judged and latency(net.architecture) <= budget_ms
        )
        if child is None:
            break
        judged[child] = accuracy(child)
        population.append(child)
    return max(judged, key=judged.__getitem__)


def _new_mutant(
    parent: Subnet, space: SearchSpace, rng: random.Random, is_wanted: Callable[[Subnet], bool]
) -> Subnet | None:
    """A mutant, of mutants where the first ones are known or too slow; None where none was found."""
    for _ in range(MAX_WALKS):
        child = parent
        for _ in range(MAX_MUTATIONS):
            child = mutant(child, space, rng)
            if is_wanted(child):
                return child
    return None


def mutant(subnet: Subnet, space: SearchSpace, rng: random.Random) -> Subnet:
    """One stage a step wider or narrower, one block more or fewer, or one MB3D more or fewer."""
    widths, origins = list(subnet.architecture.widths), [list(stage) for stage in subnet.origins]
    num_mb3d, index = subnet.architecture.num_mb3d, rng.randrange(4)
    match rng.choice(("width", "block", "mb3d")):
        case "width":
            wanted = widths[index] + rng.choice((-1, 1)) * space.width_step
            widths[index] = min(space.max_widths[index], max(space.min_widths[index], wanted))
        case "block":
            block = rng.randrange(space.max_depths[index])
            if block not in origins[index]:
                origins[index] = sorted([*origins[index], block])
            elif len(origins[index]) > 1:
                origins[index].remove(block)
        case "mb3d":
            num_mb3d += rng.choice((-1, 1))
    num_mb3d = min(max(0, num_mb3d), space.max_mb3d, len(origins[2]) + len(origins[3]))
    return Subnet.compose(space, tuple(widths), origins, num_mb3d)  # type: ignore[arg-type]
