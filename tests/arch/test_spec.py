import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficientformer.arch.cost import network_cost
from efficientformer.arch.moves import Contract, Drop, Narrow, PruneHeads, Swap
from efficientformer.arch.parts import network_parts, stage_grids
from efficientformer.arch.spaces import SPACES
from efficientformer.arch.spec import MB3D, MB4D, Architecture, Stage
from efficientformer.arch.zoo import L1, L3, L7, V2_S0, ZOO, build_architecture
from efficientformer.errors import ArchitectureError


@st.composite
def architectures(draw):
    widths = draw(st.tuples(*[st.integers(1, 12).map(lambda n: 8 * n)] * 4))
    depths = draw(st.tuples(*[st.integers(1, 4)] * 4))
    return build_architecture(
        widths,
        depths,
        draw(st.integers(0, depths[2] + depths[3])),
        stem_strides=draw(st.sampled_from([(2, 2), (2, 1), (1, 1), (2, 2, 2), (1, 2, 2)])),
        mb4d=MB4D(mlp_ratio=draw(st.integers(1, 4))),
        mb3d=MB3D(num_heads=draw(st.integers(1, 8)), key_dim=draw(st.sampled_from([8, 16, 32]))),
    )


@given(architectures())
def test_an_architecture_survives_json_and_is_a_value(architecture):
    again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert again == architecture and hash(again) == hash(architecture)


def test_the_published_networks():
    assert [ZOO[f"efficientformer_{size}"] for size in ("l1", "l3", "l7")] == [L1, L3, L7]
    assert [name for name, architecture in ZOO.items() if architecture.is_v2] == [
        f"efficientformerv2_{size}" for size in ("s0", "s1", "s2", "l")
    ]
    assert str(L1) == "widths 48-96-224-448, depths 3-2-6-4, 1 MB3D"
    assert [block.kind for block in L3.stages[3].blocks] == ["MB4D"] * 2 + ["MB3D"] * 4
    assert L7.num_on_tokens == L7.depths[3] == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stage(12, (MB4D(),)), "multiple of 8"),
        (lambda: Stage(16, ()), "at least one block"),
        (lambda: Stage(16, (MB3D(), MB4D())), "follow every MB4D"),
        (lambda: Architecture((Stage(16, (MB4D(),)),) * 3), "4 stages"),
        (lambda: Architecture((Stage(16, (MB3D(),)),) * 4), "last two stages"),
        (lambda: L1.with_stage(2, Stage(224, (MB3D(),))), "every block of stage 4"),
        (lambda: Architecture(L1.stages, (3, 2)), "two or three strides of 1 or 2"),
        (lambda: Architecture(L1.stages, (2,)), "two or three strides of 1 or 2"),
        (lambda: Architecture(L1.stages, (2, 2, 2, 2)), "two or three strides of 1 or 2"),
        (lambda: MB4D(mlp_ratio=0), "mlp_ratio"),
        (lambda: Architecture.from_json({"stages": []}), "Not an architecture|4 stages"),
        (lambda: Architecture.from_json([]), "Not an architecture"),
    ],
)
def test_rules_that_are_broken_are_named(make, message):
    with pytest.raises(ArchitectureError, match=message):
        make()


@pytest.mark.parametrize("block", [{"kind": "MB5D"}, {"kind": "MB4D", "num_heads": 3}, {}])
def test_unknown_blocks_and_options_are_refused(block):
    content = L1.to_json()
    content["stages"][0]["blocks"][0] = block
    with pytest.raises(ArchitectureError, match=r"kind|option"):
        Architecture.from_json(content)


def test_moves_return_smaller_values_and_leave_the_old_one():
    assert Drop(0, 1).apply(L1).depths == (2, 2, 6, 4)
    assert Swap(3, 3, MB4D()).apply(L1).num_on_tokens == 0
    assert Narrow(2, 32).apply(L1).widths == (48, 96, 192, 448)
    assert Contract(0, 1, 2).apply(L1).stages[0].blocks[1] == MB4D(mlp_ratio=2)
    assert L1.depths == (3, 2, 6, 4)
    with pytest.raises(ArchitectureError, match="follow every MB4D"):
        Swap(3, 2, MB4D()).apply(Swap(3, 1, MB3D()).apply(L1))
    with pytest.raises(ArchitectureError, match="only block"):
        Drop(1, 0).apply(Drop(1, 0).apply(L1))


@pytest.mark.parametrize(("network", "stage", "block"), [(L1, 3, 3), (V2_S0, 2, 5), (V2_S0, 3, 2)])
def test_heads_are_pruned_one_attention_at_a_time(network, stage, block):
    pruned = PruneHeads(stage, block, 6).apply(network)
    assert pruned.stages[stage].blocks[block].num_heads == 6
    assert PruneHeads(stage, block, 8).apply(pruned) == network
    assert Architecture.from_json(json.loads(json.dumps(pruned.to_json()))) == pruned
    macs = [network_cost(net, 224, 10).macs for net in (network, pruned, PruneHeads(stage, block, 1).apply(network))]
    assert macs[0] > macs[1] > macs[2]
    with pytest.raises(ArchitectureError, match="Block 1 of stage 1 has no attention"):
        PruneHeads(0, 0, 1).apply(network)


@given(architectures(), st.integers(16, 80))
def test_parts_follow_the_layout_of_the_tensors(architecture, resolution):
    """Maps meet only parts on maps, tokens only parts on tokens, and the head gets tokens."""
    is_tokens, width = False, 3
    grid = (resolution, resolution)
    for part in network_parts(architecture, resolution, 10):
        assert is_tokens == (part.kind in ("MB3D", "unflatten", "head")), part
        assert part.in_width == width
        if part.kind in ("stem", "downsample"):
            grid = part.grid
        width = part.width
        is_tokens = (is_tokens or part.kind == "flatten") and part.kind != "unflatten"
    assert part.kind == "head" and grid[0] >= 1


def test_grids_round_up():
    assert stage_grids((2, 2), 224) == [(56, 56), (28, 28), (14, 14), (7, 7)]
    assert stage_grids((2, 1), 28) == [(14, 14), (7, 7), (4, 4), (2, 2)]
    assert stage_grids((1, 1), (30, 21)) == [(30, 21), (15, 11), (8, 6), (4, 3)]


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_spaces_reach_from_their_smallest_to_their_largest(space):
    import random

    from efficientformer.arch.space import SearchSpace

    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert space.largest().widths == space.max_widths and space.largest().num_on_tokens == space.max_tokens
    assert space.smallest().depths == (1, 1, 1, 1)
    rng = random.Random(0)
    for _ in range(50):
        drawn = space.random(rng)
        assert all(
            low <= w <= high for low, w, high in zip(space.min_widths, drawn.widths, space.max_widths, strict=True)
        )
        assert all(depth <= limit for depth, limit in zip(drawn.depths, space.max_depths, strict=True))


def test_the_imagenet_space_has_the_size_of_l7_at_its_top():
    space = SPACES["imagenet"]
    assert (space.max_widths, space.max_depths) == (L7.widths, L7.depths)
    assert space.build(L7.widths, L7.depths, 8) == L7
