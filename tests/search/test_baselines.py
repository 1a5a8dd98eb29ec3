"""Baselines on a space whose latency and accuracy can be computed by hand."""

import random

import pytest

from efficientformer.arch.spaces import v1_space
from efficientformer.errors import BudgetError
from efficientformer.search.mutation import mutant
from efficientformer.search.rivals.baselines import random_subnets, scaled_published, slim_by
from efficientformer.search.rivals.evolution import evolve
from efficientformer.search.subnet import Subnet

SPACE = v1_space("by-hand", (64, 96, 128, 160), (3, 2, 4, 3), 7)
IMPORTANCES = [[0.1 + block for block in range(depth)] for depth in SPACE.max_depths]


def latency(architecture) -> float:
    """1 ms per MB4D, 2 per MB3D, and a quarter of a millisecond per 16 channels."""
    return sum(architecture.depths) + architecture.num_on_tokens + sum(architecture.widths) / 64


def accuracy(subnet) -> float:
    """Every block counts, attention more so, and channels of stage 3 alone."""
    return sum(subnet.architecture.depths) + 3 * subnet.architecture.num_on_tokens + subnet.architecture.widths[2] / 16


LARGEST_MS = latency(SPACE.largest())


def is_of_the_space(subnet):
    architecture = subnet.architecture
    assert architecture.depths == tuple(map(len, subnet.origins))
    for index, (width, origins) in enumerate(zip(architecture.widths, subnet.origins, strict=True)):
        assert width in SPACE.widths(index) and list(origins) == sorted(set(origins))
        assert set(origins) <= set(range(SPACE.max_depths[index]))
    return architecture.num_on_tokens <= SPACE.max_tokens


def test_random_subnets_are_as_fast_as_asked_and_repeat_with_their_seed():
    drawn = [
        random_subnets(SPACE, latency, fastest_ms=15.0, slowest_ms=16.0, count=20, rng=random.Random(seed))
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 20
    assert all(is_of_the_space(subnet) and 15 <= latency(subnet.architecture) <= 16 for subnet in drawn[0])
    assert random_subnets(SPACE, latency, fastest_ms=0.1, slowest_ms=0.2, count=3, rng=random.Random(0)) == []


def test_a_scaled_l1_keeps_its_shape_and_the_most_important_blocks():
    scaled = scaled_published(SPACE, IMPORTANCES, latency, 12.0)
    widths = scaled.architecture.widths
    assert is_of_the_space(scaled) and 11 < latency(scaled.architecture) <= 12
    assert list(widths) == sorted(widths)
    for origins, available in zip(scaled.origins, SPACE.max_depths, strict=True):
        assert origins == tuple(range(available - len(origins), available))
    with pytest.raises(BudgetError, match=r"cannot be scaled down to 1\.000 ms"):
        scaled_published(SPACE, IMPORTANCES, latency, 1.0)


def test_slimming_by_macs_is_slimming_with_another_price():
    flat = slim_by(
        SPACE,
        IMPORTANCES,
        price=lambda net: float(sum(net.widths)),
        latency=latency,
        accuracy=accuracy,
        budget_ms=LARGEST_MS - 0.5,
    )
    # Only narrowing saves these MACs, and stage 2, the least important, gives way first.
    assert flat.architecture.depths == SPACE.max_depths and flat.architecture.widths == (64, 64, 128, 160)


@pytest.mark.parametrize("seed", range(3))
def test_evolution_keeps_the_budget_and_comes_to_the_best(seed):
    asked = []

    def score(subnet):
        asked.append(subnet)
        return accuracy(subnet)

    best = evolve(SPACE, latency=latency, accuracy=score, budget_ms=15.0, num_evaluations=1000, rng=random.Random(seed))
    assert len(asked) == len(set(asked)) == 1000 and all(latency(subnet.architecture) <= 15 for subnet in asked)
    assert accuracy(best) == max(map(accuracy, asked))
    # 1 of stages 1 and 2, all MB3D elsewhere: 2 ms a block for 4 points, then width of stage 3.
    exact = 2 + 4 * 4 + max(w for w in SPACE.widths(2) if 2 + 8 + (16 + 16 + 16 + w) / 64 <= 15) / 16
    assert accuracy(best) >= exact


def test_mutants_stay_in_the_space():
    rng, subnet = random.Random(0), Subnet.largest(SPACE)
    for _ in range(500):
        subnet = mutant(subnet, SPACE, rng)
        assert is_of_the_space(subnet)


def test_evolution_ends_where_the_space_does():
    asked = []
    space = v1_space("tiny", (16, 16, 16, 32), (1, 1, 2, 1), 0)
    best = evolve(
        space,
        latency=latency,
        accuracy=lambda subnet: asked.append(subnet) or accuracy(subnet),
        budget_ms=100.0,
        num_evaluations=100,
        rng=random.Random(0),
    )
    assert len(asked) == 6 and best.architecture.depths == (1, 1, 2, 1)
    with pytest.raises(BudgetError, match=r"1\.000 ms or less"):
        evolve(space, latency=latency, accuracy=accuracy, budget_ms=1.0, num_evaluations=9, rng=random.Random(0))
