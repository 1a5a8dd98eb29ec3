import random

import pytest

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import QUICK
from efficientformer.arch.spec import FFN, AttnFFN
from efficientformer.arch.stage_space import StageSpace
from efficientformer.errors import UsageError
from efficientformer.pipeline.phases.rank import drawn_subnets, ranking
from efficientformer.search.subnet import Subnet


def rows(alone, supernet, latency_ms):
    names = ("alone_top1", "supernet_accuracy", "latency_ms")
    return [dict(zip(names, values, strict=True)) for values in zip(alone, supernet, latency_ms, strict=True)]


def test_the_same_order_has_tau_one_and_the_other_way_round_minus_one():
    found = ranking(rows(range(12), [5.0 * value for value in range(12)], range(12, 0, -1)))
    assert found == {
        "kendall_tau": pytest.approx(1),
        "interval": pytest.approx([1, 1]),
        "latency_tau": pytest.approx(-1),
    }


def test_one_swap_of_neighbors_among_four_costs_a_third():
    found = ranking(rows([1, 2, 3, 4], [1, 3, 2, 4], [1, 1, 1, 1]))
    assert found["kendall_tau"] == pytest.approx(4 / 6) and found["latency_tau"] == 0
    assert found["interval"][0] < 4 / 6 < found["interval"][1]


def four_stages(*last_widths: int) -> SearchSpace:
    """A space of one block a stage: the last has these widths and may attend."""
    stages = [StageSpace(width, width, (FFN(),), (FFN(),)) for width in (16, 16, 32)]
    last = StageSpace(min(last_widths), max(last_widths), (AttnFFN(), FFN()), (AttnFFN(),))
    return SearchSpace("few", (*stages, last))


def test_a_space_with_fewer_networks_than_asked_for_is_refused_with_their_number():
    with pytest.raises(UsageError, match=r"found 4 different networks, not the 20 .*--rank.networks 4, or for a space"):
        drawn_subnets(four_stages(32, 48), 20, seed=0)
    with pytest.raises(UsageError, match=r"found 2 different .*--rank.networks\. Ask for a space"):
        drawn_subnets(four_stages(32), 20, seed=0)
    assert len(set(drawn_subnets(four_stages(32, 48), 4, seed=0))) == 4


def test_networks_are_the_first_different_ones_that_the_seed_draws():
    rng, drawn = random.Random("3/rank"), drawn_subnets(QUICK, 20, seed=3)
    assert drawn == [Subnet.random(QUICK, rng) for _ in range(20)] and drawn[:5] == drawn_subnets(QUICK, 5, seed=3)
