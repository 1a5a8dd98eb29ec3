import random

from efficientformer.arch.moves import Contract, Drop, Narrow, Swap
from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import FFN
from efficientformer.arch.zoo import L1, V2_S0
from efficientformer.search.candidates import State
from efficientformer.search.contenders import LEAST, contenders, shape
from efficientformer.search.subnet import Subnet

SPACE = v1_space("by-hand", (64, 64, 64, 64), (2, 2, 4, 4), 8)
SMALLEST = Subnet(SPACE.smallest(), ((0,), (1,), (2,), (3,)))
BUDGET_MS = 10.0


def latency(architecture) -> float:
    return sum(architecture.depths) + sum(architecture.widths) / 64


def accuracy(subnet) -> float:
    return subnet.architecture.widths[0] - sum(subnet.architecture.depths)


def drawn(count, seed=0, scored=None):
    def score(subnet):
        if scored is not None:
            scored.append(subnet)
        return accuracy(subnet)

    found = State(SMALLEST, latency(SMALLEST.architecture), accuracy(SMALLEST))
    return contenders(
        found, SPACE, latency=latency, accuracy=score, budget_ms=BUDGET_MS, count=count, rng=random.Random(seed)
    )


def test_the_network_found_comes_first_and_the_others_fill_the_budget():
    found, *others = drawn(8)
    assert found.subnet == SMALLEST and len(others) == 7
    assert all(LEAST * BUDGET_MS <= state.latency_ms <= BUDGET_MS for state in others)


def test_each_depths_come_once_by_the_best_of_them():
    scored = []
    _, *others = drawn(6, scored=scored)
    depths = [state.subnet.architecture.depths for state in others]
    assert len(set(depths)) == len(depths) and SMALLEST.architecture.depths not in depths
    for state in others:
        alike = [subnet for subnet in scored if subnet.architecture.depths == state.subnet.architecture.depths]
        assert state.accuracy == max(map(accuracy, alike))
    assert [state.accuracy for state in others] == sorted((state.accuracy for state in others), reverse=True)


def test_one_alone_is_the_network_found_and_draws_follow_the_seed():
    assert len(drawn(1)) == 1 and drawn(5) == drawn(5) != drawn(5, seed=1)


def test_a_shape_is_depths_and_in_v2_also_where_attention_is():
    assert shape(L1) == L1.depths
    assert shape(V2_S0) == (2, 2, 6, 4, 0, 0, 2, 2)
    assert shape(Contract(2, 0, 1).apply(V2_S0)) == shape(Narrow(1, 8).apply(V2_S0)) == shape(V2_S0)
    assert shape(Swap(3, 3, FFN()).apply(V2_S0)) != shape(V2_S0) != shape(Drop(0, 0).apply(V2_S0))
