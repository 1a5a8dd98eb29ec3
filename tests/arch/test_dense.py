import json
from dataclasses import replace

import pytest

from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import L1, V2_S0
from efficientformer.errors import ArchitectureError


@pytest.mark.parametrize("head", [SemanticFpn(), SemanticFpn(64, 32), OneStage(), OneStage(depth=4)])
@pytest.mark.parametrize("network", [L1, V2_S0], ids=["v1", "v2"])
def test_a_head_is_part_of_the_value(network, head):
    dense = replace(network, head=head)
    again = Architecture.from_json(json.loads(json.dumps(dense.to_json())))
    assert again == dense != network and hash(again) == hash(dense)
    assert str(dense) == f"{network}, {head}"


def test_a_classifier_is_written_as_ever():
    assert list(L1.to_json()) == ["stem_strides", "stages"] and Architecture.from_json(L1.to_json()).head is None
    assert replace(L1, head=SemanticFpn(64)).to_json()["head"] == {"kind": "semantic_fpn", "fpn_width": 64}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"kind": "yolo"}, "head: Unknown head kind 'yolo'; the kinds are semantic_fpn, one_stage, mask_rcnn"),
        ({"kind": "mask_rcnn", "proposals": 2001}, "MaskRcnn.proposals must be a positive integer up to 2000, not"),
        ({"kind": "semantic_fpn", "depth": 2}, "semantic_fpn has no option"),
        ({"kind": "one_stage", "fpn_width": 12}, "OneStage.fpn_width must be a multiple of 8, not 12"),
        ({"kind": "one_stage", "width": 0}, "OneStage.width must be a positive integer up to 1024, not '0'"),
        ({"kind": "one_stage", "depth": 9}, "OneStage.depth must be a positive integer up to 8, not '9'"),
        ({}, "Unknown head kind 'None'"),
    ],
)
def test_rules_that_are_broken_are_named(head, message):
    with pytest.raises(ArchitectureError, match=message):
        Architecture.from_json({**L1.to_json(), "head": head})


def test_only_heads_are_heads():
    with pytest.raises(
        ArchitectureError, match="head must be a SemanticFpn, a OneStage, a MaskRcnn or None, not 'fpn'"
    ):
        replace(L1, head="fpn")
