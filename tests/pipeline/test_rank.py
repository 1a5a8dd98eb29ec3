import pytest

from efficientformer.pipeline.phases.rank import ranking


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
