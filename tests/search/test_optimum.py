"""The exact optimum against trying every subnet of a small space."""

import itertools
import random
from dataclasses import replace

import pytest

from efficientformer.arch.cost import part_cost
from efficientformer.arch.moves import Contract, Narrow, Swap
from efficientformer.arch.parts import network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import V2_IMAGENET, v1_space, v2_space
from efficientformer.arch.spec import MB3D, MB4D, Architecture, Stage, in_kind, num_heads_of, takes_tokens, with_heads
from efficientformer.arch.stage_space import StageSpace
from efficientformer.errors import ArchitectureError, BudgetError
from efficientformer.search.rivals.knapsack import END, START, Edge, best_path
from efficientformer.search.rivals.optimum import find_optimum
from efficientformer.search.rivals.surrogate import AdditiveSurrogate, fit_surrogate
from efficientformer.search.subnet import Subnet

V1 = v1_space("by-hand", (32, 32, 48, 32), (2, 1, 2, 2), 3)
V2 = v2_space(
    "by-hand-v2", (24, 16, 32, 24), (1, 1, 2, 1), width_step=8, expansions=(3, 1), min_widths=(16, 16, 24, 16)
)
TOKENS = SearchSpace(
    "tokens and expansions",
    (
        StageSpace(16, 16, (MB4D(4),), (MB4D(4),), expansions=(4, 2)),
        StageSpace(16, 32, (MB4D(4),), (MB4D(4),)),
        StageSpace(16, 32, (MB3D(4), MB4D(4)), (MB4D(4), MB3D(4)), expansions=(4, 2)),
        StageSpace(16, 16, (MB3D(4), MB4D(4)), (MB3D(4), MB3D(4)), expansions=(4, 2)),
    ),
)
ON_TOKENS = StageSpace(16, 16, (MB3D(4), MB4D(4)), (MB4D(4), MB3D(4, 2)), heads=(4, 2, 1))
HEADS = SearchSpace("heads on tokens", (*TOKENS.stages[:2], TOKENS.stages[1], ON_TOKENS))
V2_HEADS = v2_space("heads on maps", (16, 16, 16, 16), (1, 1, 1, 2), expansions=(2, 1), heads=(4, 2))
(*BEFORE, LAST) = V2_HEADS.stages
V2_HEADS = replace(V2_HEADS, stages=(*BEFORE, replace(LAST, largest=(LAST.blocks[1], with_heads(LAST.blocks[0], 2)))))
SPACES = pytest.mark.parametrize("space", [V1, V2, TOKENS, HEADS, V2_HEADS], ids=lambda space: space.name)
RESOLUTION, NUM_CLASSES = 64, 10


def every_subnet(space):
    """All widths, blocks kept, kinds of block and expansions that make an architecture."""
    stages = []
    for index, stage in enumerate(space.stages):
        blocks = [
            (None, *(block for block in stage.candidates if takes_tokens(top) or not takes_tokens(block)))
            for top in stage.largest
        ]
        stages.append(list(itertools.product(space.widths(index), itertools.product(*blocks))))
    for picked in itertools.product(*stages):
        try:
            architecture = Architecture(
                tuple(Stage(width, tuple(filter(None, choice))) for width, choice in picked), space.stem_strides
            )
        except ArchitectureError:
            continue
        origins = tuple(tuple(i for i, block in enumerate(choice) if block is not None) for _, choice in picked)
        yield Subnet(architecture, origins)


def make_surrogate(space, seed, low=-0.5):
    """Drops of widths, of places, and of kind, expansion and heads at every place, which add up."""
    rng = random.Random(seed)
    changed = []
    for stage in space.stages:
        places = []
        for top in stage.largest:
            kinds = {block.kind: rng.uniform(low, 2) for block in stage.blocks} | {top.kind: 0.0}
            ratios = {ratio: rng.uniform(low, 1) for ratio in stage.expansions} | {top.mlp_ratio: 0.0}
            heads = {number: rng.uniform(low, 1) for number in stage.heads}
            heads[num_heads_of(in_kind(top, stage.blocks[0]))] = 0.0
            blocks = [block for block in stage.candidates if takes_tokens(top) or not takes_tokens(block)]
            places.append(
                {
                    block: kinds[block.kind] + ratios[block.mlp_ratio] + heads.get(num_heads_of(block), 0.0)
                    for block in blocks
                    if block != top
                }
            )
        changed.append(tuple(places))
    return AdditiveSurrogate(
        largest=80.0,
        narrowed=tuple({width: rng.uniform(low, 4) for width in stage.widths} for stage in space.stages),
        dropped=tuple(tuple(rng.uniform(low, 3) for _ in stage.largest) for stage in space.stages),
        changed=tuple(changed),
    )


def make_latency(seed):
    """Every part has a random latency of its own, so that no order among parts helps."""
    known, rng = {}, random.Random(seed)
    return lambda part: known.setdefault(part, rng.uniform(0.1, 1.0))


def optimum(space, surrogate, part_ms, budget_ms, resolution=RESOLUTION, num_classes=NUM_CLASSES):
    return find_optimum(space, surrogate, part_ms, resolution=resolution, num_classes=num_classes, budget_ms=budget_ms)


@SPACES
@pytest.mark.parametrize("seed", range(5))
def test_nothing_within_the_budget_is_better(space, seed):
    surrogate, part_ms = make_surrogate(space, seed), make_latency(seed)
    subnets = list(every_subnet(space))
    latencies = [sum(map(part_ms, network_parts(net.architecture, RESOLUTION, NUM_CLASSES))) for net in subnets]
    drops = list(map(surrogate.drop, subnets))
    for budget_ms in (min(latencies), *random.Random(seed).sample(latencies, 3), max(latencies)):
        least = min(drop for drop, ms in zip(drops, latencies, strict=True) if ms <= budget_ms + 1e-9)
        best = optimum(space, surrogate, part_ms, budget_ms + 1e-9)
        assert best.gap == 0.0 and space.holds(best.subnet.architecture)
        assert best.subnet in subnets and surrogate.drop(best.subnet) == pytest.approx(least, abs=1e-9)
        parts = network_parts(best.subnet.architecture, RESOLUTION, NUM_CLASSES)
        assert sum(map(part_ms, parts)) <= budget_ms + 1.1e-9


def test_a_budget_below_the_fastest_is_refused():
    for budget_ms in (0.1, 0.0, -1.0):
        with pytest.raises(BudgetError, match=rf"No network of the space takes {budget_ms:.3f} ms"):
            optimum(V1, make_surrogate(V1, 0), lambda part: 1.0, budget_ms)


def test_the_largest_space_of_v2_is_solved_exactly():
    surrogate = make_surrogate(V2_IMAGENET, 0, low=0.0)

    def part_ms(part):
        return 0.01 + part_cost(part).macs / 4e8

    full_ms = sum(map(part_ms, network_parts(V2_IMAGENET.largest(), 224, 1000)))
    best = optimum(V2_IMAGENET, surrogate, part_ms, 0.4 * full_ms, 224, 1000)
    assert best.gap == 0.0 and V2_IMAGENET.holds(best.subnet.architecture)


@pytest.mark.parametrize("seed", range(20))
def test_a_thinned_search_states_how_far_it_may_be_from_the_best_path(seed):
    """Three choices at every layer, whose latency and drop are strongly correlated: the bounds leave out little."""
    rng, layers, num_layers = random.Random(seed), [], 9
    for depth in range(num_layers):
        edges = []
        for choice in range(3):
            latency = rng.randrange(10**9, 10**12)
            edges.append(Edge(END if depth == num_layers - 1 else depth, choice, latency, 10**12 - latency))
        layers.append({START if depth == 0 else depth - 1: edges})
    budget = sum(min(edge.latency for edge in edges) for layer in layers for edges in layer.values()) + 2 * 10**12
    exact = best_path(layers, budget, most=10**6)
    assert exact is not None and exact.least == exact.drop and exact.latency <= budget
    for most in (2, 8, 64):
        thinned = best_path(layers, budget, most)
        assert thinned is not None and thinned.latency <= budget
        assert thinned.least <= exact.drop <= thinned.drop


@SPACES
def test_a_surrogate_of_something_additive_is_exact(space):
    asked, truth = [], make_surrogate(space, 3)
    for stage, drops in zip(space.stages, truth.narrowed, strict=True):
        drops[stage.max_width] = 0.0  # The largest network loses nothing.

    def accuracy(subnet):
        asked.append(subnet)
        return truth(subnet)

    fitted = fit_surrogate(space, accuracy)
    subnets = list(every_subnet(space))
    for subnet in random.Random(0).sample(subnets, min(len(subnets), 200)):
        assert fitted(subnet) == pytest.approx(truth(subnet))
    # The largest, narrower widths, blocks that a stage can spare, other kinds one by one, other expansions and heads.
    spare = sum(stage.depth for stage in space.stages if stage.depth > 1)
    widths = sum(len(stage.widths) - 1 for stage in space.stages)
    changeable = [stage for stage in space.stages for top in stage.largest if takes_tokens(top) or not stage.has_tokens]
    kinds = sum(len(stage.blocks) > 1 for stage in changeable)
    ratios = sum(stage.depth * (len(stage.expansions) - 1) for stage in space.stages)
    heads = sum(max(0, len(stage.heads) - 1) for stage in changeable)
    assert len(set(asked)) == 1 + widths + spare + kinds + ratios + heads


def test_blocks_on_maps_are_each_measured_alone():
    """An AttnFFN costs more to lose the more are lost; its cost alone is that of the first."""
    largest = Subnet.largest(V2)

    def accuracy(subnet):
        lost = largest.architecture.num_attending - subnet.architecture.num_attending
        return (
            80.0 - lost**2 - sum(3 - block.mlp_ratio for stage in subnet.architecture.stages for block in stage.blocks)
        )

    fitted = fit_surrogate(V2, accuracy)
    ffn = V2.stages[2].blocks[1]
    for stage, place in ((2, 0), (2, 1), (3, 0)):
        into = Swap(stage, place, V2.stages[stage].blocks[1]).into
        assert fitted.changed[stage][place][into] == pytest.approx(1.0)
    small = largest.after(Swap(2, 0, ffn), Contract(2, 0, 1), Narrow(0, 8))
    assert fitted.drop(small) == pytest.approx(1.0 + 2.0)
