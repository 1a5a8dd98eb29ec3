"""`torch.jit.script` takes our networks, as it takes timm's."""

import io

import pytest
import torch

from efficientformer.models.create import create_model
from efficientformer.models.deploy.forms import DeployForms
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network

from .small import STEMS, STEMS_IDS


def scripted(module):
    """As it comes back from a file."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module), stream)
    stream.seek(0)
    return torch.jit.load(stream)


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_published_networks(name):
    network = create_model(name, num_classes=3, resolution=64).eval()
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(torch.jit.script(network)(images), network(images))


@pytest.mark.parametrize("small", STEMS, ids=STEMS_IDS)
@pytest.mark.parametrize("options", [{}, {"has_distillation_head": True}, {"num_classes": 0}, {"drop_path_rate": 0.2}])
def test_any_number_and_size_of_images(small, options, randomize):
    network = randomize(Network(small, **{"num_classes": 5, "resolution": 32, **options})).eval()
    script = scripted(network)
    for shape in ((2, 3, 32, 32), (3, 3, 48, 34)):
        images = torch.randn(shape)
        assert torch.equal(script(images), network(images))


@pytest.mark.parametrize("small", STEMS, ids=STEMS_IDS)
@pytest.mark.parametrize("forms", [DeployForms(), DeployForms(pooling="difference", projections="separate")])
def test_deploy_forms(small, forms, randomize):
    deployed = fuse(randomize(Network(small, num_classes=5, resolution=32)), forms)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(scripted(deployed)(images), deployed(images))
    with pytest.raises(torch.jit.Error, match="call at_resolution first"):
        torch.jit.script(deployed)(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("small", STEMS, ids=STEMS_IDS)
def test_a_scripted_network_learns_as_the_network_does(small, randomize):
    network = randomize(Network(small, num_classes=5, resolution=32)).train()
    network.preprocessing = {"resolution": 32, "mean": [0.5, 0.5, 0.5]}
    network.set_grad_checkpointing()
    images, gradients = torch.randn(2, 3, 32, 32), []
    for module in (network, torch.jit.script(network)):
        network.zero_grad()
        module(images).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)
