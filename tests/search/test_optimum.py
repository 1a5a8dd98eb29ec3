"""The exact optimum against trying every subnet of a small space."""

import itertools
import random

import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D, MB4D, Architecture, Stage
from efficientformer.errors import ArchitectureError, BudgetError
from efficientformer.search.rivals.optimum import best_subnet
from efficientformer.search.rivals.surrogate import AdditiveSurrogate, fit_surrogate
from efficientformer.search.subnet import Subnet

SPACE = v1_space("by-hand", (32, 32, 48, 32), (2, 1, 2, 2), 3)
RESOLUTION, NUM_CLASSES = 64, 10


def every_subnet():
    """All widths, blocks kept and kinds of block that make an architecture."""
    stages = []
    for index, stage in enumerate(SPACE.largest().stages):
        kinds = [(None, MB4D(), *([block] if block.kind == MB3D.kind else [])) for block in stage.blocks]
        stages.append([pair for pair in itertools.product(SPACE.widths(index), itertools.product(*kinds))])
    for picked in itertools.product(*stages):
        try:
            architecture = Architecture(
                tuple(Stage(width, tuple(filter(None, choice))) for width, choice in picked), SPACE.stem_strides
            )
        except ArchitectureError:
            continue
        origins = tuple(tuple(i for i, block in enumerate(choice) if block is not None) for _, choice in picked)
        yield Subnet(architecture, origins)


def make_surrogate(seed):
    rng = random.Random(seed)
    largest = SPACE.largest()
    return AdditiveSurrogate(
        largest=80.0,
        narrowed=tuple({width: rng.uniform(-0.5, 4) for width in SPACE.widths(index)} for index in range(4)),
        dropped=tuple(tuple(rng.uniform(-0.5, 3) for _ in stage.blocks) for stage in largest.stages),
        changed=tuple(
            tuple({MB4D(): rng.uniform(-0.5, 2)} if block.kind == MB3D.kind else {} for block in stage.blocks)
            for stage in largest.stages
        ),
    )


def make_latency(seed):
    """Every part has a random latency of its own, so that no order among parts helps."""
    known, rng = {}, random.Random(seed)
    return lambda part: known.setdefault(part, rng.uniform(0.1, 1.0))


@pytest.mark.parametrize("seed", range(8))
def test_nothing_within_the_budget_is_better(seed):
    surrogate, part_ms = make_surrogate(seed), make_latency(seed)
    subnets = list(every_subnet())
    latencies = [sum(map(part_ms, network_parts(net.architecture, RESOLUTION, NUM_CLASSES))) for net in subnets]
    for budget_ms in (min(latencies), random.Random(seed).choice(latencies), max(latencies)):
        least = min(surrogate.drop(net) for net, ms in zip(subnets, latencies, strict=True) if ms <= budget_ms + 1e-9)
        best = best_subnet(
            SPACE, surrogate, part_ms, resolution=RESOLUTION, num_classes=NUM_CLASSES, budget_ms=budget_ms + 1e-9
        )
        assert best in subnets and surrogate.drop(best) == pytest.approx(least)
        assert sum(map(part_ms, network_parts(best.architecture, RESOLUTION, NUM_CLASSES))) <= budget_ms + 1e-9


def test_a_budget_below_the_fastest_is_refused():
    with pytest.raises(BudgetError, match=r"No network of the space takes 0\.100 ms"):
        best_subnet(
            SPACE, make_surrogate(0), lambda part: 1.0, resolution=RESOLUTION, num_classes=NUM_CLASSES, budget_ms=0.1
        )


def test_a_surrogate_of_something_additive_is_exact():
    asked, truth = [], make_surrogate(3)
    for drops in truth.narrowed:
        drops[max(drops)] = 0.0  # The largest network loses nothing.

    def accuracy(subnet):
        asked.append(subnet)
        return truth(subnet)

    fitted = fit_surrogate(SPACE, accuracy)
    for subnet in random.Random(0).sample(list(every_subnet()), 200):
        assert fitted(subnet) == pytest.approx(truth(subnet))
    # The largest, four stages at narrower widths, blocks that a stage can spare, and MB3D one by one.
    assert len(set(asked)) == 1 + (1 + 1 + 2 + 1) + 6 + 3
