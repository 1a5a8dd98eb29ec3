import hashlib
import itertools
import random
from dataclasses import replace

import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import (
    IMAGENET,
    QUICK,
    STANDARD,
    V2_IMAGENET,
    V2_QUICK,
    V2_STANDARD,
    space_below,
    v1_space,
)
from efficientformer.arch.spec import MB3D, AttnFFN, num_heads_of, with_heads
from efficientformer.arch.stage_space import StageSpace
from efficientformer.arch.zoo import L1, V2_S0
from efficientformer.latency.tables.chains import Formula, axis_knots, chain_name, knots
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.formulas import table_formulas
from efficientformer.latency.tables.interpolation import PartFigures

from .synthetic import CALL_MS, chain_latency_ms, part_latency_ms

V1_SETTINGS = [(QUICK, 28, 10), (STANDARD, (96, 128), 5), (IMAGENET, 224, 1000)]


def only(index: int, *blocks, space: SearchSpace, expansions=(4,), heads=()) -> SearchSpace:
    """The space with these kinds of block, and no others, in one stage."""
    largest = tuple(with_heads(block, max(heads, default=num_heads_of(block))) for block in blocks[:1])
    stage = StageSpace(16, 32, blocks, largest * 2, expansions=expansions, heads=heads)
    return replace(space, stages=(*space.stages[:index], stage, *space.stages[index + 1 :]))


SETTINGS = [
    *V1_SETTINGS,
    (V2_QUICK, 28, 10),
    (V2_STANDARD, (96, 128), 5),
    (replace(V2_QUICK, activation="hard_swish"), 28, 10),
    (replace(QUICK, activation="relu"), 28, 10),
    (V2_IMAGENET, 224, 1000),
    (only(3, MB3D(2), space=QUICK, expansions=(4, 2)), 28, 10),
    (only(2, AttnFFN(), space=V2_QUICK, expansions=(4, 2)), 28, 10),
    (only(3, MB3D(2), space=QUICK, expansions=(4, 2), heads=(6, 3, 1)), 28, 10),
    (only(2, AttnFFN(), space=V2_QUICK, expansions=(4, 2), heads=(6, 4, 3, 1)), 28, 10),
]
# Taken before spaces of EfficientFormerV2 had tables: those of EfficientFormer's blocks are measured as they were.
DIGESTS = {
    "quick": "f35c0ab433a6d3d1",
    "standard": "8e464e4ee4f37655",
    "imagenet": "5219c44aa774f629",
}


def value(formula, time_of=chain_latency_ms):
    return sum(weight * time_of(chain) for chain, weight in formula.weights.items())


@pytest.mark.parametrize(("space", "resolution", "num_classes"), SETTINGS)
def test_entries_are_the_parts_alone_and_the_stem_carries_the_call(space, resolution, num_classes):
    formulas = table_formulas(space, resolution, num_classes)
    for part, formula in formulas.items():
        expected = part_latency_ms(part) + (CALL_MS if part.kind == "stem" else 0.0)
        assert value(formula) == pytest.approx(expected, abs=1e-9), part.key


@pytest.mark.parametrize(("space", "resolution", "num_classes"), SETTINGS)
def test_every_family_of_the_space_is_covered_to_its_ends(space, resolution, num_classes):
    formulas = table_formulas(space, resolution, num_classes)
    for network in (space.smallest(), space.largest()):
        for part in network_parts(network, resolution, num_classes):
            assert part in formulas


@pytest.mark.parametrize(("space", "resolution", "num_classes"), V1_SETTINGS, ids=list(DIGESTS))
def test_formulas_of_the_first_spaces_stay(space, resolution, num_classes):
    lines = [
        f"{part.key} = "
        + "; ".join(f"{weight.hex()} x {chain_name(chain)}" for chain, weight in formula.weights.items())
        for part, formula in table_formulas(space, resolution, num_classes).items()
    ]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == DIGESTS[space.name]


def test_few_chains_make_a_table_of_v2():
    formulas = table_formulas(V2_IMAGENET, 224, 1000)
    chains = {chain for formula in formulas.values() for chain in formula.weights}
    assert len(chains) <= 152
    assert {part.expansion for part in formulas if part.kind == "FFN"} == {1, 2, 4}
    for part, formula in formulas.items():  # attention takes one chain of its own, and so does a further expansion
        if part.kind == "MHSA" or (part.kind == "FFN" and part.expansion > 1):
            assert sum(part in chain for chain in formula.weights) == 1, part.key


@pytest.mark.parametrize(("network", "most"), [(V2_S0, 12), (L1, 6)], ids=["v2_s0", "l1"])
def test_few_chains_more_measure_heads(network, most):
    """Of each stage that attends, two numbers of heads at three widths."""
    space = space_below("below", network)
    stages = tuple(replace(stage, heads=()) for stage in space.stages)
    with_choice, without = (table_formulas(own, 224, 1000) for own in (space, replace(space, stages=stages)))
    num_chains = [len({c for x in found.values() for c in x.weights}) for found in (without, with_choice)]
    assert num_chains[1] - num_chains[0] == most <= 0.11 * num_chains[0]
    more = with_choice.keys() - without.keys()
    assert {part.num_heads for part in more} == {2, 4} and len(more) == most


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_every_network_of_a_space_with_heads_is_predicted(name):
    """From the parts alone, whose latency is a constant and a price per MAC."""
    space = (
        only(3, MB3D(2), space=QUICK, expansions=(4, 3, 2, 1), heads=(8, 6, 4, 2, 1))
        if name == "v1"
        else space_below("below V2-S0", V2_S0)
    )
    parts = table_formulas(space, 64, 10)
    figures = PartFigures.latencies_ms({p: Entry(part_latency_ms(p), (0.0, 1.0), 2) for p in parts})
    rng = random.Random(0)
    for _ in range(30):
        for part in network_parts(space.random(rng), 64, 10):
            if part.num_heads:
                assert figures.of(part) == pytest.approx(part_latency_ms(part), rel=1e-6), part.key
            assert figures.covers(part)


def test_no_attention_is_chained_without_an_ffn_behind_each():
    for formula in table_formulas(V2_QUICK, 28, 10).values():
        for chain in formula.weights:
            kinds = [part.kind for part in chain]
            assert all(kinds[place + 1] == "FFN" for place, kind in enumerate(kinds) if kind == "MHSA")


def test_borders_that_a_call_adds_once_per_chain_cancel():
    def with_border(chain):
        return chain_latency_ms(chain) + 0.5

    formulas = {**table_formulas(QUICK, 28, 10), **table_formulas(V2_QUICK, 28, 10)}
    for part, formula in formulas.items():
        change = value(formula, with_border) - value(formula)
        assert change == pytest.approx(0.5 if part.kind == "stem" else 0.0, abs=1e-9), part.key


def test_space_without_attention_has_no_attention_in_its_chains():
    space = v1_space(name="maps", max_widths=(16, 16, 16, 16), max_depths=(1, 1, 1, 1), max_mb3d=0)
    formulas = table_formulas(space, 64, 10)
    kinds = {part.kind for formula in formulas.values() for chain in formula.weights for part in chain}
    assert kinds == {"stem", "MB4D", "downsample", "flatten", "head"}


def test_knots_keep_both_ends_and_steps_of_even_ratio():
    widths = list(range(192, 769, 16))
    chosen = knots(widths)
    assert len(chosen) <= 8 and set(chosen) <= set(widths)
    assert (chosen[0], chosen[-1]) == (192, 768)
    assert max(b / a for a, b in itertools.pairwise(chosen)) < 1.25
    assert knots([16, 32, 48]) == [16, 32, 48]
    assert axis_knots(list(range(16, 257, 16))) == [16, 64, 256]


def test_formulas_add_and_cancel():
    part = network_parts(QUICK.smallest(), 28, 10)[1]
    one, two = Formula.time(part), Formula.time(part, part)
    assert (two - one).weights == {(part, part): 1.0, (part,): -1.0}
    assert (two - one + one).weights == {(part, part): 1.0}
    assert chain_name((part, part)) == f"2 x {part.key}"
