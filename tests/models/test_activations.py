"""One activation in all blocks of a network: in training form, deploy form, parts and exported files."""

import json
from dataclasses import replace

import onnx
import pytest
import torch

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import QUICK, V2_QUICK
from efficientformer.arch.spec import Architecture
from efficientformer.errors import ArchitectureError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.embed import ACTIVATIONS
from efficientformer.models.parts import build_part
from efficientformer.models.weights.timm_names import timm_state_dict
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.supernet import Supernet

SPACES = {"v1": QUICK, "v2": replace(V2_QUICK, activation="gelu")}
NODES = {"gelu": {"Gelu"}, "hard_swish": {"HardSwish"}, "relu": set()}


def network(family: str, activation: str):
    torch.manual_seed(0)
    largest = replace(SPACES[family], activation=activation).largest()  # type: ignore[arg-type]
    model = create_model(largest, num_classes=5, resolution=32, layer_scale_init=0.5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2) if parameter.dim() > 1 else None
    return model.eval()


@pytest.mark.parametrize("activation", ["hard_swish", "relu"])
@pytest.mark.parametrize("family", SPACES)
def test_every_activation_of_the_blocks_is_the_network_s(family, activation):
    torch.manual_seed(1)
    x = torch.randn(2, 3, 32, 32)
    usual, other = network(family, "gelu"), network(family, activation)
    assert not torch.allclose(usual(x), other(x), atol=1e-2)
    other.load_state_dict(usual.state_dict())
    acting = [module for module in usual.modules() if getattr(module, "activation", None) is ACTIVATIONS["gelu"]]
    blocks = [block for stage in usual.architecture.stages for block in stage.blocks]
    # One MLP in each block; in V2 also the stem, each attention and that of the downsample.
    attending = usual.architecture.num_attending + 2 if family == "v2" else 0
    assert len(acting) == len(blocks) + attending
    for module in acting:
        module.activation = ACTIVATIONS[activation]
    assert torch.equal(usual(x), other(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("family", SPACES)
def test_the_deploy_form_and_the_file_have_the_same_activation(family, activation, tmp_path):
    model, x = network(family, activation), torch.randn(2, 3, 32, 32)
    deployed = fuse(model)
    assert torch.allclose(model(x), deployed(x), atol=1e-3, rtol=1e-3)
    export_onnx(deployed, (1, 3, 32, 32), tmp_path / "model.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert kinds & {"Gelu", "HardSwish", "Erf"} == NODES[activation]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("family", SPACES)
def test_parts_have_the_activations_of_the_network(family, activation):
    model = network(family, activation)
    parts = network_parts(model.architecture, 32, 5)
    named = [part for part in parts if f"activation={activation}" in part.family]
    # The usual activation has no word in a part: relu of the first family's stem, gelu of all others.
    assert bool(named) == (activation != "gelu" or family == "v2")
    assert all(type(part).from_json(json.loads(json.dumps(part.to_json()))) == part for part in parts)
    chain = torch.nn.Sequential(*map(build_part, parts)).eval()
    acting = [[module.activation for module in of.modules() if hasattr(module, "activation")] for of in (chain, model)]
    assert acting[0] == acting[1]
    assert ACTIVATIONS[activation] in acting[0]


@pytest.mark.parametrize("family", SPACES)
def test_an_activation_goes_through_json_and_an_unknown_one_is_refused(family):
    space = replace(SPACES[family], activation="hard_swish")
    assert type(space).from_json(json.loads(json.dumps(space.to_json()))) == space
    largest = space.largest()
    content = json.loads(json.dumps(largest.to_json()))
    assert Architecture.from_json(content) == largest != SPACES[family].largest()
    assert str(largest).endswith(", hard_swish")
    with pytest.raises(ArchitectureError, match="activation"):
        Architecture.from_json({**content, "activation": "swish"})
    with pytest.raises(ArchitectureError, match="Unknown activation 'swish'; there are gelu, hard_swish, relu"):
        replace(largest, activation="swish")  # type: ignore[arg-type]


def test_a_supernet_and_its_subnets_have_the_activation_of_the_space():
    space = replace(QUICK, activation="relu")
    supernet = Supernet(space, resolution=32, num_classes=5)
    mlps = [module for name, module in supernet.named_modules() if name.endswith(".mlp")]
    assert mlps and all(module.activation is ACTIVATIONS["relu"] for module in mlps)
    assert Subnet.largest(space).architecture.activation == "relu"


def test_timm_has_no_network_with_another_activation():
    from efficientformer.arch.zoo import V2_S0

    with pytest.raises(UsageError, match=r"timm has no network of .*hard_swish"):
        timm_state_dict(create_model(replace(V2_S0, activation="hard_swish"), num_classes=5, resolution=64))
