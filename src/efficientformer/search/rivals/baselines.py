"""Baselines of slimming: simpler search methods at equal latency. No torch."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from efficientformer.arch.moves import Contract, Move, PruneHeads
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture, Block, Stage
from efficientformer.arch.stage_space import StageSpace
from efficientformer.arch.zoo import L1, V2_S0
from efficientformer.errors import BudgetError
from efficientformer.search.actions import ActionSet
from efficientformer.search.candidates import State
from efficientformer.search.importance import Importances
from efficientformer.search.objective import LATENCY, Objective
from efficientformer.search.slim import slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import (
    AccuracyOracle,
    Ahead,
    LatencyOracle,
    patient,
    unprepared,
    weigh_in_turn,
)

MAX_DRAWS = 20_000
SCALES = [1.03**step for step in range(-90, 48)]
"""Scale factors of widths and depths, from 1/14 to 4."""
SCALED_FREE = 0.04
"""Fraction of a budget that a scaled network may leave unused."""


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


def published(space: SearchSpace) -> tuple[str, str, Architecture]:
    """The smallest published network of the space's family: its name in records, its name in words, and itself."""
    if space.is_v2:
        return "v2_s0", "EfficientFormerV2-S0", V2_S0
    return "l1", "EfficientFormer-L1", L1


def scaled_published(space: SearchSpace, importances: Importances, latency: LatencyOracle, budget_ms: float) -> Subnet:
    """The published network of the space's family with all widths scaled by one factor and all depths by another, to
    fit the budget.

    Of the scalings that use at least 96 % of the budget, the one with the most similar factors; if there is none, the
    slowest within the budget. The subnet consists of the most important blocks. Raises BudgetError when even the
    smallest scaling is too slow.
    """
    unlike = scalings(space)
    within = {network: latency_ms for network in unlike if (latency_ms := latency(network)) <= budget_ms}
    if not within:
        raise BudgetError(
            f"{published(space)[1]} cannot be scaled down to {budget_ms:.3f} ms in this space. Ask for a larger budget."
        )
    full = [network for network, latency_ms in within.items() if latency_ms >= (1 - SCALED_FREE) * budget_ms]
    architecture = min(full, key=unlike.__getitem__) if full else max(within, key=within.__getitem__)
    return of_important_blocks(architecture, importances)


def scalings(space: SearchSpace) -> dict[Architecture, float]:
    """Every scaling of the published network in the space, with |log(width factor / depth factor)|."""
    like = published(space)[2]
    unlike: dict[Architecture, float] = {}
    for width_scale, depth_scale in itertools.product(SCALES, SCALES):
        network = _scaled(like, space, width_scale, depth_scale)
        unlike[network] = min(abs(math.log(width_scale / depth_scale)), unlike.get(network, math.inf))
    return unlike


def of_important_blocks(architecture: Architecture, importances: Importances) -> Subnet:
    """The architecture as a subnet made of the most important blocks of every stage."""
    origins = []
    for stage, depth in zip(importances, architecture.depths, strict=True):
        by_importance = sorted(range(len(stage)), key=lambda place: -stage[place])
        origins.append(tuple(sorted(by_importance[:depth])))
    return Subnet(architecture, tuple(origins))


def _scaled(like: Architecture, space: SearchSpace, width_scale: float, depth_scale: float) -> Architecture:
    widths, depths = [], []
    for stage, allowed in zip(like.stages, space.stages, strict=True):
        low, step = allowed.min_width, allowed.width_step
        widths.append(min(allowed.max_width, max(low, low + step * round((width_scale * stage.width - low) / step))))
        depths.append(min(allowed.depth, max(1, round(depth_scale * stage.depth))))
    if like.is_v2:
        stages = zip(like.stages, space.stages, widths, depths, strict=True)
        scaled = [Stage(width, _scaled_blocks(stage, allowed, depth)) for stage, allowed, width, depth in stages]
        return space.network(scaled)
    num_attending = min(space.max_tokens, round(depth_scale * like.num_attending), depths[2] + depths[3])
    return space.build(tuple(widths), tuple(depths), num_attending)  # type: ignore[arg-type]


def _scaled_blocks(stage: Stage, allowed: StageSpace, depth: int) -> tuple[Block, ...]:
    """As large a share of the blocks attends as in the published stage, the last ones; expansions go along the stage as
    they do there, each the nearest that the space has."""
    num_attending = round(depth * stage.num_attending / stage.depth)
    blocks: list[Block] = []
    for place in range(depth):
        kind = allowed.blocks[0] if place >= depth - num_attending else allowed.blocks[-1]
        wanted = stage.blocks[round(place * (stage.depth - 1) / max(1, depth - 1))].mlp_ratio
        blocks.append(replace(kind, mlp_ratio=min(allowed.expansions, key=lambda ratio: abs(ratio - wanted))))
    return tuple(blocks)


class CoarseSpace(SearchSpace):
    """The same networks, but blocks keep their expansions and heads on the way down: the search of EfficientFormer, by
    widths, depths and number of blocks that attend, which EfficientFormerV2 calls coarse."""

    @classmethod
    def of(cls, space: SearchSpace) -> "CoarseSpace":
        return cls(**{field.name: getattr(space, field.name) for field in fields(space)})

    def shrinks(self, architecture: Architecture) -> Iterator[Move]:
        return (move for move in super().shrinks(architecture) if not isinstance(move, Contract | PruneHeads))


def slim_by(
    space: SearchSpace,
    importances: Importances,
    *,
    price: Callable[[Architecture], float],
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    budget_ms: float,
    action_set: ActionSet = "paper",
    objective: Objective = LATENCY,
    ahead: Ahead = unprepared,
) -> Subnet:
    """Slim by accuracy lost per unit of another price, such as MACs, or per gain of another objective, whose latency is
    the price; the first subnet within the latency budget. ahead: see `weigh_in_turn`."""
    largest = Subnet.largest(space)
    state = State(largest, price(largest.architecture), accuracy(largest))
    weigh = weigh_in_turn(price, patient(accuracy), objective, ahead)
    steps = slim(state, importances, space, weigh, action_set=action_set)
    while latency(state.subnet.architecture) > budget_ms:
        state = next(steps).state
    return state.subnet
