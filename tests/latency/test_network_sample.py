import itertools
import math
import os
import subprocess
import sys

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


def test_networks_of_equal_macs_are_in_the_same_order_in_every_process():
    """Expansions in another order cost the same: hashes, which a process draws, may not order them."""
    code = """if True:
        from efficientformer.arch.spaces import v2_space
        from efficientformer.latency.tables.network_sample import spread_networks
        space = v2_space("s", (16, 16, 16, 16), (2, 2, 2, 2), expansions=(2, 1))
        print([network.to_json() for network in spread_networks(space, 32, 10, count=1000, seed=0)])
    """
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] and outputs[0].count("stem_strides") > 900


def test_small_space_gives_what_it_has():
    space = v1_space(name="s", max_widths=(16, 16, 16, 16), max_depths=(1, 1, 2, 1), max_mb3d=1)
    networks = spread_networks(space, 64, 10, count=50, seed=0)
    assert 0 < len(networks) <= 2
    assert space.largest() not in networks and space.smallest() not in networks
