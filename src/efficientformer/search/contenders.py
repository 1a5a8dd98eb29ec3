"""Which networks of a budget are worth a short training of their own. No torch.

A supernet ranks networks of one shape more reliably than others, because blocks with low logits are trained less. So
its scores choose among networks of one shape, and short trainings choose among the shapes.
"""

import random

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.search.candidates import State
from efficientformer.search.rivals.baselines import random_subnets
from efficientformer.search.weighing import AccuracyOracle, LatencyOracle

DRAWN_EACH = 6
"""Random networks that are scored for every contender."""
LEAST = 0.97
"""Smallest latency of a random network, as a fraction of the budget."""


def contenders(
    slimmed: State,
    space: SearchSpace,
    *,
    latency: LatencyOracle,
    accuracy: AccuracyOracle,
    budget_ms: float,
    count: int,
    rng: random.Random,
) -> list[State]:
    """The network that slimming found, then the best random network of each other shape.

    Random networks are almost as slow as the budget. The list is shorter than `count` when the sample has fewer shapes.
    """
    best: dict[tuple[int, ...], State] = {}
    drawn = random_subnets(
        space,
        latency,
        fastest_ms=LEAST * budget_ms,
        slowest_ms=budget_ms,
        count=DRAWN_EACH * (count - 1),
        rng=rng,
    )
    for subnet in drawn:
        state = State(subnet, latency(subnet.architecture), accuracy(subnet))
        drawn_shape = shape(subnet.architecture)
        if drawn_shape not in best or state.accuracy > best[drawn_shape].accuracy:
            best[drawn_shape] = state
    best.pop(shape(slimmed.subnet.architecture), None)
    return [slimmed, *sorted(best.values(), key=lambda state: -state.accuracy)[: count - 1]]


def shape(architecture: Architecture) -> tuple[int, ...]:
    """What networks share that a supernet ranks reliably: depths and, in EfficientFormerV2, how many blocks of each
    stage attend.

    Attention has weights of its own, so a supernet trains it apart from the FFN that takes its place, as it trains a
    block apart from its absence. Expansions and heads are no part of the shape: like widths, they are first filters of
    the same weights, trained together, and with them every network would have a shape of its own.
    """
    attending = [stage.num_attending for stage in architecture.stages] if architecture.is_v2 else []
    return (*architecture.depths, *attending)
