"""Baselines of slimming: simpler search methods at equal latency. No torch."""

import itertools
import math
import random
from collections.abc import Callable

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import L1
from efficientformer.errors import BudgetError
from efficientformer.search.actions import ActionSet
from efficientformer.search.candidates import State
from efficientformer.search.importance import Importances
from efficientformer.search.slim import slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import AccuracyOracle, LatencyOracle, patient, weigh_in_turn

MAX_DRAWS = 20_000
SCALES = [1.03**step for step in range(-90, 48)]
"""Scale factors of widths and depths, from 1/14 to 4."""
L1_FREE = 0.04
"""Fraction of a budget that a scaled L1 may leave unused."""


def random_subnets(
    space: SearchSpace, latency: LatencyOracle, *, fastest_ms: float, slowest_ms: float, count: int, rng: random.Random
) -> list[Subnet]:
    """Distinct random subnets between two latencies; fewer than `count` if MAX_DRAWS draws find no more."""
    drawn: dict[Subnet, None] = {}
    for _ in range(MAX_DRAWS):
        if len(drawn) == count:
            break
        subnet = Subnet.random(space, rng)
        if fastest_ms <= latency(subnet.architecture) <= slowest_ms:
            drawn[subnet] = None
    return list(drawn)


def scaled_l1(space: SearchSpace, importances: Importances, latency: LatencyOracle, budget_ms: float) -> Subnet:
    """EfficientFormer-L1 with all widths scaled by one factor and all depths by another, to fit the budget.

    Of the scalings that use at least 96 % of the budget, the one with the most similar factors; if there is none, the
    slowest within the budget. The subnet consists of the most important blocks. Raises BudgetError when even the
    smallest scaling is too slow.
    """
    unlike = l1_scalings(space)
    within = {network: latency_ms for network in unlike if (latency_ms := latency(network)) <= budget_ms}
    if not within:
        raise BudgetError(
            f"EfficientFormer-L1 cannot be scaled down to {budget_ms:.3f} ms in this space. Ask for a larger budget."
        )
    full = [network for network, latency_ms in within.items() if latency_ms >= (1 - L1_FREE) * budget_ms]
    architecture = min(full, key=unlike.__getitem__) if full else max(within, key=within.__getitem__)
    return of_important_blocks(architecture, importances)


def l1_scalings(space: SearchSpace) -> dict[Architecture, float]:
    """Every scaling of EfficientFormer-L1 in the space, with |log(width factor / depth factor)|."""
    unlike: dict[Architecture, float] = {}
    for width_scale, depth_scale in itertools.product(SCALES, SCALES):
        network = _scaled(space, width_scale, depth_scale)
        unlike[network] = min(abs(math.log(width_scale / depth_scale)), unlike.get(network, math.inf))
    return unlike


def of_important_blocks(architecture: Architecture, importances: Importances) -> Subnet:
    """The architecture as a subnet made of the most important blocks of every stage."""
    origins = []
    for stage, depth in zip(importances, architecture.depths, strict=True):
        by_importance = sorted(range(len(stage)), key=lambda place: -stage[place])
        origins.append(tuple(sorted(by_importance[:depth])))
    return Subnet(architecture, tuple(origins))


def _scaled(space: SearchSpace, width_scale: float, depth_scale: float) -> Architecture:
    widths, depths = [], []
    for like, stage in zip(L1.stages, space.stages, strict=True):
        low, step = stage.min_width, stage.width_step
        widths.append(min(stage.max_width, max(low, low + step * round((width_scale * like.width - low) / step))))
        depths.append(min(stage.depth, max(1, round(depth_scale * like.depth))))
    num_attending = min(space.largest().num_attending, round(depth_scale * L1.num_attending), depths[2] + depths[3])
    return space.build(tuple(widths), tuple(depths), num_attending)  # type: ignore[arg-type]


def slim_by(
    space: SearchSpace,
    importances: Importances,
    *,
    price: Callable[[Architecture], float],
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    budget_ms: float,
    action_set: ActionSet = "paper",
) -> Subnet:
    """Slim by accuracy lost per unit of another price, such as MACs; the first subnet within the latency budget."""
    largest = Subnet.largest(space)
    state = State(largest, price(largest.architecture), accuracy(largest))
    steps = slim(state, importances, space, weigh_in_turn(price, patient(accuracy)), action_set=action_set)
    while latency(state.subnet.architecture) > budget_ms:
        state = next(steps).state
    return state.subnet
