"""Baselines on a space whose latency and accuracy can be computed by hand."""

import random
from dataclasses import replace

import pytest

from efficientformer.arch.spaces import v1_space, v2_space
from efficientformer.arch.zoo import V2_S0
from efficientformer.errors import BudgetError
from efficientformer.search.mutation import mutant
from efficientformer.search.rivals.baselines import CoarseSpace, random_subnets, scaled_published, scalings, slim_by
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


V2 = v2_space("by-hand-v2", (32, 48, 96, 176), (2, 2, 6, 4), expansions=(4, 3, 2))


def test_a_space_of_v2_scales_v2_s0_with_its_expansions_and_attention():
    unlike = scalings(V2)
    assert unlike[V2_S0] == 0.0 and all(map(V2.holds, unlike))
    importances = [[1.0] * depth for depth in V2.max_depths]
    full_ms = latency(V2_S0)
    scaled = scaled_published(V2, importances, latency, full_ms).architecture
    assert unlike[scaled] == 0.0 and 0.96 * full_ms <= latency(scaled) <= full_ms
    with pytest.raises(BudgetError, match="EfficientFormerV2-S0 cannot be scaled"):
        scaled_published(V2, importances, latency, 1.0)
    wide = v2_space("wide", (64, 96, 192, 352), (4, 4, 12, 8), expansions=(4, 3))
    blocks = next(net for net in scalings(wide) if net.depths == (4, 4, 12, 8)).stages[2].blocks
    assert [block.kind for block in blocks] == ["FFN"] * 8 + ["AttnFFN"] * 4
    # Of the published 4, 3, 3, 3, 4, 4 each comes twice.
    assert "".join(str(block.mlp_ratio) for block in blocks) == "443333334444"


def test_the_coarse_search_contracts_nothing_and_meets_the_budget():
    importances = [[1.0] * depth for depth in V2.max_depths]

    def time(net):
        return sum(10 + block.mlp_ratio for stage in net.stages for block in stage.blocks) + sum(net.widths) / 64

    def worth(subnet):
        return (
            50 + sum(5 for stage in subnet.architecture.stages for _ in stage.blocks) + sum(subnet.architecture.widths)
        )

    found = []
    for space in (V2, CoarseSpace.of(V2)):
        budget_ms = 0.8 * time(V2.largest())
        options = {"price": time, "latency": time, "accuracy": worth, "budget_ms": budget_ms, "action_set": "every"}
        subnet = slim_by(space, importances, **options)
        assert time(subnet.architecture) <= budget_ms and V2.holds(subnet.architecture)
        found.append({block.mlp_ratio for stage in subnet.architecture.stages for block in stage.blocks})
    assert found[1] == {4} and min(found[0]) == 2


@pytest.mark.parametrize("space", [SPACE, V2], ids=["v1", "v2"])
def test_rivals_have_the_activation_of_the_space(space):
    other = replace(space, activation="hard_swish")
    assert not other.holds(space.largest()) and other.holds(other.largest())
    assert {network.activation for network in scalings(other)} == {"hard_swish"}
    assert CoarseSpace.of(other).largest() == other.largest() and CoarseSpace.of(other).name == other.name
