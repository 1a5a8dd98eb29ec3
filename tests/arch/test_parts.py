import json

import pytest

from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import Part, head_part, network_parts, stem_part
from efficientformer.arch.spaces import IMAGENET, QUICK, STANDARD
from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError

NETWORKS = [
    *((space.largest(), resolution) for space, resolution in ((QUICK, 28), (STANDARD, (96, 128)), (IMAGENET, 224))),
    (ZOO["efficientformerv2_s0"], 224),
]


@pytest.mark.parametrize(("network", "resolution"), NETWORKS, ids=str)
def test_a_part_survives_json_and_its_key_is_its_own(network, resolution):
    parts = network_parts(network, resolution, 10)
    assert [Part.from_json(json.loads(json.dumps(part.to_json()))) for part in parts] == parts
    assert len({part.key for part in parts}) == len(set(parts))


BLOCK = Part("MB3D", (7, 7), 64, 64, block=MB3D(num_heads=4)).to_json()
STEM = stem_part((2, 2), 224, 32).to_json()
HEAD = head_part((7, 7), 64, 10).to_json()


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
        ({**BLOCK, "num_classes": 3}, "MB3D has no num_classes"),
        ({**BLOCK, "width": 0}, "positive integers"),
        ({**BLOCK, "grid": [7, 7.5]}, "positive integers"),
        ({**STEM, "strides": None}, "stem needs strides"),
        ({**STEM, "activation": "silu"}, "Unknown activation 'silu'"),
        ({**HEAD, "block": {"kind": "MB4D"}}, "head has no block"),
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
