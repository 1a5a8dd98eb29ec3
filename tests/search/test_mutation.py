"""Random networks and mutants of spaces in which a stage's only kind of block works on tokens."""

import random
from collections import Counter

import pytest

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import MB3D, MB4D, Block
from efficientformer.arch.stage_space import StageSpace
from efficientformer.search.mutation import mutant
from efficientformer.search.subnet import Subnet

MAPS = StageSpace(16, 32, (MB4D(),), (MB4D(),) * 2)
TOKENS = StageSpace(16, 48, (MB3D(),), (MB3D(),) * 2)


def space_with(*largest: Block, last: StageSpace = TOKENS) -> SearchSpace:
    """A space whose stage 3 has a choice, with these blocks in the largest network."""
    return SearchSpace("tokens at the end", (MAPS, MAPS, StageSpace(16, 48, (MB3D(), MB4D()), largest), last))


FEW, ALL = space_with(MB4D(), MB4D(), MB3D()), space_with(MB3D(), MB3D(), MB3D())
NONE = space_with(MB4D(), MB4D(), last=MAPS)
"""Of its kinds stage 3 could have MB3D, but the largest network has none."""
WITH_A_CHOICE = pytest.mark.parametrize("space", [FEW, ALL, NONE], ids=["few", "all", "none"])


def kinds(subnet: Subnet) -> list[list[str]]:
    return [[block.kind for block in stage.blocks] for stage in subnet.architecture.stages]


@WITH_A_CHOICE
def test_random_networks_and_mutants_are_of_the_space(space):
    rng = random.Random(0)
    for _ in range(300):
        subnet = Subnet.random(space, rng)
        assert space.holds(subnet.architecture)
        for _ in range(5):
            subnet = mutant(subnet, space, rng)
            assert space.holds(subnet.architecture)


@WITH_A_CHOICE
def test_a_mutant_of_other_widths_or_of_a_deeper_last_stage_keeps_the_kinds_of_stage_3(space):
    rng, num_widths, num_depths = random.Random(0), 0, 0
    for _ in range(1000):
        parent = Subnet.random(space, rng)
        child = mutant(parent, space, rng)
        if child.architecture.widths != parent.architecture.widths:
            num_widths += 1
            assert kinds(child) == kinds(parent)
        in_bounds = child.architecture.num_on_tokens < max(1, space.max_tokens)
        if child.architecture.depths[3] != parent.architecture.depths[3] and in_bounds:
            num_depths += 1
            assert kinds(child)[:3] == kinds(parent)[:3]
    assert num_widths > 100 and num_depths > 20


def test_the_number_of_blocks_on_tokens_is_drawn_uniformly_where_it_is_free():
    rng = random.Random(0)
    drawn = [space_stage for _ in range(4000) if (space_stage := ALL.random(rng).stages[2]).depth == 3]
    counts = Counter(stage.num_on_tokens for stage in drawn)
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(abs(count / len(drawn) - 1 / 4) < 0.06 for count in counts.values())


@pytest.mark.parametrize(("num_attending", "in_stage_3"), [(0, 0), (2, 0), (3, 1), (5, 3), (9, 3)])
def test_blocks_that_always_attend_count_among_those_asked_for(num_attending, in_stage_3):
    built = ALL.build((16, 16, 16, 16), (1, 1, 3, 2), num_attending)
    assert [stage.num_attending for stage in built.stages] == [0, 0, in_stage_3, 2]
