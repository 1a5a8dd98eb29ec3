import pytest
import torch
from torch import nn

from efficientformer.arch.parts import head_parts, network_parts
from efficientformer.arch.spec import MB3D, AttnFFN
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.models.create import create_model
from efficientformer.models.deploy.forms import DeployForms
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.parts import build_part, part_input_shape

from .small import STEMS, STEMS_IDS
from .small_dense import DENSE, DENSE_IDS, every_dense

both_families = pytest.mark.parametrize("small", STEMS, ids=STEMS_IDS)


@both_families
@pytest.mark.parametrize("forms", [DeployForms(), DeployForms("difference", "separate")], ids=["default", "others"])
def test_network_keeps_its_function(small, forms, randomize):
    for resolution in (32, (33, 47)):
        network = randomize(create_model(small, num_classes=5, resolution=resolution, has_distillation_head=True))
        images = torch.randn(4, 3, *((resolution,) * 2 if isinstance(resolution, int) else resolution))
        fused = fuse(network, forms)
        assert network.training and not fused.training
        expected = network.eval()(images).detach()
        assert (fused(images) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
        assert not [module for module in fused.modules() if isinstance(module, nn.BatchNorm2d)]
        assert not [name for name, p in fused.named_parameters() if p.requires_grad or "layer_scale" in name]


@every_dense
@torch.no_grad()
def test_a_dense_head_keeps_its_function(dense, randomize):
    for resolution in ((32, 32), (33, 47)):
        network = randomize(create_model(dense, num_classes=5, resolution=resolution))
        images = torch.randn(2, 3, *resolution)
        fused, expected = fuse(network), network.eval()(images)
        assert (fused(images) - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))
        assert not [module for module in fused.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("dense", DENSE[1:3], ids=DENSE_IDS[1:3])
def test_every_part_of_a_dense_head(dense, randomize):
    for part in head_parts(dense, (33, 47), 5):
        module = randomize(build_part(part)).double()
        x = torch.randn(part_input_shape(part), dtype=torch.double)
        torch.testing.assert_close(fuse(module)(x), module.eval()(x))


@both_families
def test_original_is_left_alone(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32, has_distillation_head=True)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fused = fuse(network)
    for parameter in fused.parameters():
        parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


@both_families
def test_every_part_and_a_chain_of_them(small, randomize):
    parts = network_parts(small, 32, 5)
    modules = [randomize(build_part(part)).double() for part in parts]
    for part, module in zip(parts, modules, strict=True):
        x = torch.randn(part_input_shape(part, batch_size=2), dtype=torch.double)
        torch.testing.assert_close(fuse(module)(x), module.eval()(x))
    network = nn.Sequential(*modules).eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.double)
    torch.testing.assert_close(fuse(network)(images), network(images))


@both_families
def test_a_block_that_stands_twice(small, randomize):
    """Tables of latencies chain one block several times."""
    for part in network_parts(small, 32, 5):
        if part.block is not None:
            block = randomize(build_part(part)).double()
            pair = nn.Sequential(block, nn.Sequential(block)).eval()
            x = torch.randn(part_input_shape(part), dtype=torch.double)
            torch.testing.assert_close(fuse(pair)(x), pair(x))


@both_families
def test_features_stay(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32)).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.double)
    for fused_map, original in zip(fuse(network).forward_maps(images), network.forward_maps(images), strict=True):
        torch.testing.assert_close(fused_map, original)


@pytest.mark.parametrize("name", ZOO)
def test_number_of_parameters(name, golden):
    """The golden count without batch norm, less what is folded beyond it."""
    network = create_model(name, has_distillation_head=True)
    folded = sum(p.numel() for n, p in network.named_parameters() if "attention_bias" in n or "head_dist" in n)
    for stage in network.architecture.stages:
        for block in stage.blocks:
            # An MB3D loses both layer scales; an MB4D one, and keeps the other beside its complement.
            folded += 2 * stage.width if isinstance(block, MB3D | AttnFFN) else stage.width * network.architecture.is_v2
            # The first talking head's bias goes into the attention bias.
            folded += block.num_heads if isinstance(block, AttnFFN) else 0
    assert sum(p.numel() for p in fuse(network).parameters()) == golden[name]["params_bn_folded"] - folded


@both_families
def test_another_size_is_refused(small):
    fused = fuse(create_model(small, num_classes=5, resolution=32))
    with pytest.raises(UsageError, match="at_resolution"):
        fused(torch.randn(1, 3, 64, 64))
