"""Small random changes of a subnet, which make it larger or smaller. No torch."""

import random
from collections.abc import Container

from efficientformer.arch.space import SearchSpace
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import LatencyOracle

MAX_WALKS, MAX_MUTATIONS = 200, 8


def new_mutant(
    parent: Subnet,
    space: SearchSpace,
    rng: random.Random,
    *,
    known: Container[Subnet],
    latency: LatencyOracle,
    budget_ms: float,
) -> Subnet | None:
    """A new mutant within the budget, or None if none was found.

    A mutant that is known or too slow is mutated again, up to MAX_MUTATIONS times before a new walk from the parent.
    """
    for _ in range(MAX_WALKS):
        child = parent
        for _ in range(MAX_MUTATIONS):
            child = mutant(child, space, rng)
            if child not in known and latency(child.architecture) <= budget_ms:
                return child
    return None


def mutant(subnet: Subnet, space: SearchSpace, rng: random.Random) -> Subnet:
    """Change one thing: a stage one width step wider or narrower, a block added or dropped, an MB3D more or fewer."""
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
