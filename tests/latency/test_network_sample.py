import itertools
import math

from efficientformer.arch.cost import network_cost
from efficientformer.arch.spaces import STANDARD, v1_space
from efficientformer.latency.tables.network_sample import spread_networks


def test_networks_are_distinct_sorted_and_spread_evenly_in_ratio():
    networks = spread_networks(STANDARD, 128, 10, count=24, seed=0)
    logs = [math.log(network_cost(network, 128, 10).macs) for network in networks]
    assert len(set(networks)) == 24 and logs == sorted(logs)
    assert logs[-1] - logs[0] > math.log(10)
    steps = [after - before for before, after in itertools.pairwise(logs)]
    assert max(steps) < 3 * (logs[-1] - logs[0]) / 23


def test_same_seed_same_networks():
    assert spread_networks(STANDARD, 128, 10, count=5, seed=1) == spread_networks(STANDARD, 128, 10, count=5, seed=1)
    assert spread_networks(STANDARD, 128, 10, count=5, seed=1) != spread_networks(STANDARD, 128, 10, count=5, seed=2)


def test_small_space_gives_what_it_has():
    space = v1_space(name="s", max_widths=(16, 16, 16, 16), max_depths=(1, 1, 2, 1), max_mb3d=1)
    networks = spread_networks(space, 64, 10, count=50, seed=0)
    assert 0 < len(networks) <= 2
    assert space.largest() not in networks and space.smallest() not in networks
