"""The whole networks that a table is checked on: random ones, spread evenly over the sizes of the space."""

import math
import random

from efficientformer.arch.cost import network_cost
from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture

NUM_DRAWN = 1000


def spread_networks(
    space: SearchSpace, resolution: int | Grid, num_classes: int, *, count: int, seed: int
) -> list[Architecture]:
    """Up to `count` distinct architectures, smallest first, whose MACs are in about equal ratios.

    Uniform draws are almost all of medium size. MACs stand in for latency, since nothing is measured yet.
    """
    rng = random.Random(seed)
    # Networks with equal MACs and text stay in the order of draws. A set would order them by hashes, which differ
    # between processes.
    drawn = dict.fromkeys(space.random(rng) for _ in range(NUM_DRAWN))
    ends = (space.largest(), space.smallest())
    log_macs = {net: math.log(network_cost(net, resolution, num_classes).macs) for net in drawn if net not in ends}
    remaining = sorted(log_macs, key=lambda net: (log_macs[net], str(net)))
    if len(remaining) <= count:
        return remaining
    low, high = log_macs[remaining[0]], log_macs[remaining[-1]]
    chosen = []
    for step in range(count):
        target = low + (high - low) * (step + 0.5) / count
        nearest = min(remaining, key=lambda net: abs(log_macs[net] - target))
        remaining.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen, key=lambda net: (log_macs[net], str(net)))
