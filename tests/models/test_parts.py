import pytest
import torch
from torch import nn

from efficientformer.arch.parts import network_parts
from efficientformer.arch.spec import MB3D
from efficientformer.arch.zoo import build_architecture
from efficientformer.models.create import create_model
from efficientformer.models.parts import build_part, part_input_shape

from .small import STEMS

TOKENS_EARLY = build_architecture((8, 16, 24, 32), (1, 2, 2, 2), 3, mb3d=MB3D(2, 2, 8, 2))
MAPS_TO_THE_END = build_architecture((8, 16, 24, 32), (1, 2, 2, 2), 0)


def chain(architecture, resolution, network) -> nn.Sequential:
    """The parts of a network, holding its weights."""
    modules = [build_part(part) for part in network_parts(architecture, resolution, 5)]
    sources = iter([network.stem, *(m for s in network.stages for m in (s.downsample, *s.blocks))])
    remaining: dict[str, torch.Tensor] = {}
    for module in modules[:-1]:
        if names := set(module.state_dict()):
            while not remaining:
                remaining = dict(next(sources).state_dict())
            module.load_state_dict({name: remaining.pop(name) for name in names})  # a half takes its part of a block
    assert not remaining
    modules[-1].norm.load_state_dict(network.norm.state_dict())
    modules[-1].head.load_state_dict(network.head.state_dict())
    return nn.Sequential(*modules).eval()


def test_parts_in_order_are_the_network(randomize):
    for architecture in (TOKENS_EARLY, MAPS_TO_THE_END, *STEMS):
        for resolution in (64, (64, 40)):
            network = randomize(create_model(architecture, num_classes=5, resolution=resolution)).eval()
            size = (resolution, resolution) if isinstance(resolution, int) else resolution
            images = torch.randn(2, 3, *size)
            assert torch.equal(chain(architecture, resolution, network)(images), network(images))


@pytest.mark.parametrize("architecture", [TOKENS_EARLY, *STEMS])
def test_input_shapes_follow_one_another(architecture):
    parts = network_parts(architecture, (70, 40), 5)
    x = torch.randn(part_input_shape(parts[0], batch_size=2))
    for part in parts:
        assert x.shape == part_input_shape(part, batch_size=2)
        x = build_part(part)(x)
    assert x.shape == (2, 5)
