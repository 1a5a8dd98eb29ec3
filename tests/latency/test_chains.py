import itertools

import pytest

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import IMAGENET, QUICK, STANDARD, v1_space
from efficientformer.latency.tables.chains import Formula, axis_knots, chain_name, knots
from efficientformer.latency.tables.formulas import table_formulas

from .synthetic import CALL_MS, chain_latency_ms, part_latency_ms

SETTINGS = [(QUICK, 28, 10), (STANDARD, (96, 128), 5), (IMAGENET, 224, 1000)]


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


def test_borders_that_a_call_adds_once_per_chain_cancel():
    def with_border(chain):
        return chain_latency_ms(chain) + 0.5

    formulas = table_formulas(QUICK, 28, 10)
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
