import json
from dataclasses import replace

import pytest

from efficientformer.arch.cost import part_cost
from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.parts import Part, block_parts, head_part, head_parts, network_parts, stem_part
from efficientformer.arch.spaces import IMAGENET, QUICK, STANDARD, V2_STANDARD
from efficientformer.arch.spec import FFN, MB3D, MB4D, MHSA, AttnFFN
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError

NETWORKS = [
    *((space.largest(), resolution) for space, resolution in ((QUICK, 28), (STANDARD, (96, 128)), (IMAGENET, 224))),
    (V2_STANDARD.largest(), 96),
    *((ZOO[name], 224) for name in ("efficientformerv2_s0", "efficientformerv2_l")),
    (replace(QUICK.largest(), head=SemanticFpn(32, 24)), (70, 40)),
    (replace(ZOO["efficientformerv2_s0"], head=OneStage()), 96),
]


@pytest.mark.parametrize(("network", "resolution"), NETWORKS, ids=str)
def test_a_part_survives_json_and_its_key_is_its_own(network, resolution):
    parts = network_parts(network, resolution, 10)
    assert [Part.from_json(json.loads(json.dumps(part.to_json()))) for part in parts] == parts
    assert len({part.key for part in parts}) == len(set(parts))


def test_an_attnffn_is_its_attention_whatever_the_expansion_and_an_ffn_like_any_other():
    halves = [block_parts(AttnFFN(ratio, 4, 16, 2, stride=2), (14, 14), 96) for ratio in (2, 3)]
    assert halves[0][0] == halves[1][0] and halves[0][0].block == MHSA(4, 16, 2, 2)
    assert [parts[1:] for parts in halves] == [block_parts(FFN(ratio), (14, 14), 96) for ratio in (2, 3)]
    assert halves[0][0].key == "MHSA@14x14,num_heads=4,key_dim=16,value_ratio=2,stride=2:96>96"
    assert [part.expansion for part in halves[0]] == [0, 2] and halves[0][0].with_expansion(3) == halves[0][0]


def test_a_group_leaves_out_widths_expansion_and_heads_and_nothing_else():
    (first,), (second,) = block_parts(MB3D(2), (7, 7), 64), block_parts(MB3D(3), (7, 7), 96)
    assert first.group == second.group and first.family != second.family
    assert first.with_expansion(3).family == second.family
    (fewer,) = block_parts(MB3D(2, num_heads=4), (7, 7), 64)
    assert fewer.group == first.group and first.with_heads(4) == fewer and fewer.num_heads == 4
    ffn = Part("FFN", (7, 7), 8, 8, block=FFN())
    assert ffn.num_heads == 0 and ffn.with_heads(4) == ffn
    assert len({Part("MB4D", (7, 7), 8, 8, block=MB4D()).group, Part("FFN", (7, 7), 8, 8, block=FFN()).group}) == 2


BLOCK = Part("MB3D", (7, 7), 64, 64, block=MB3D(num_heads=4)).to_json()
STEM = stem_part((2, 2), 224, 32).to_json()
HEAD = head_part((7, 7), 64, 10).to_json()
BOXES = head_parts(replace(QUICK.largest(), head=OneStage()), 64, 10)[-1].to_json()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "Not a part"),
        ({}, "Not a part.*grid"),
        ({**BLOCK, "grid": [7]}, "Not a part"),
        ({**BLOCK, "color": 4}, "Not a part.*color"),
        ({**BLOCK, "kind": "MB5D"}, "Unknown kind of part 'MB5D'; the kinds are MB4D, MB3D,"),
        ({**BLOCK, "block": {"kind": "MB4D"}}, "of kind MB3D cannot have a block of kind MB4D"),
        ({**BLOCK, "block": {"kind": "MB3D", "depth": 1}}, "has no option"),
        ({**BLOCK, "block": None}, "MB3D needs block"),
        (
            {**BLOCK, "kind": "AttnFFN", "block": {"kind": "AttnFFN"}},
            "Unknown block kind 'AttnFFN'; the kinds are MB4D",
        ),
        ({**BLOCK, "kind": "MHSA"}, "of kind MHSA cannot have a block of kind MB3D"),
        ({**BLOCK, "num_classes": 3}, "MB3D has no num_classes"),
        ({**BLOCK, "width": 0}, "positive integers"),
        ({**BLOCK, "grid": [7, 7.5]}, "positive integers"),
        ({**STEM, "strides": None}, "stem needs strides"),
        ({**STEM, "strides": [2]}, "two or three strides"),
        ({**STEM, "strides": [2, 2, 2, 2]}, "two or three strides"),
        ({**STEM, "strides": [2, 0, 2]}, "positive integers"),
        ({**STEM, "activation": "silu"}, "Unknown activation 'silu'"),
        ({**HEAD, "block": {"kind": "MB4D"}}, "head has no block"),
        ({**HEAD, "level": {"number": 1}}, "head has no level"),
        ({**BOXES, "level": None}, "detections needs level"),
        ({**BOXES, "num_classes": None}, "detections needs num_classes"),
        ({**BOXES, "level": {"number": 1, "depth": 99}}, "Not a level of a dense head: depth"),
    ],
)
def test_what_is_no_part_is_refused_with_the_reason(content, message):
    with pytest.raises(ArchitectureError, match=message):
        Part.from_json(content)


def test_keys_name_kind_map_options_and_widths():
    assert Part("MB4D", (8, 8), 16, 16, block=MB4D(mlp_ratio=3)).key == "MB4D@8x8,mlp_ratio=3:16>16"


def test_an_unknown_part_costs_an_error_not_nothing():
    with pytest.raises(AssertionError, match="MB5D"):
        part_cost(Part("MB5D", (8, 8), 16, 16))


def test_a_part_of_attention_has_a_stride_of_one_or_two():
    content = block_parts(AttnFFN(stride=2), (14, 14), 96)[0].to_json()
    assert Part.from_json(content).block == MHSA(stride=2)
    with pytest.raises(ArchitectureError, match=r"MHSA\.stride is 1 or 2, not 3"):
        Part.from_json({**content, "block": {**content["block"], "stride": 3}})
