"""A small space of V2's blocks, a slimmable network with random weights, and images for it."""

import random

import torch

from efficientformer.arch.spaces import v2_space
from efficientformer.arch.spec import AttnFFN
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork

SPACE = v2_space(
    "tiny",
    (32, 32, 48, 48),
    (2, 1, 2, 2),
    expansions=(3, 2, 1),
    stem_strides=(2, 1),
    attention=AttnFFN(num_heads=3, key_dim=8, value_ratio=2),
    heads=(3, 2, 1),
)
RESOLUTION, CLASSES = 24, 5


def random_supernet(**options) -> SlimmableNetwork:
    """Every weight random, so that no two are interchangeable."""
    torch.manual_seed(0)
    network = SlimmableNetwork(SPACE, resolution=RESOLUTION, num_classes=CLASSES, layer_scale_init=0.5, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def images(count=6):
    return torch.randn(count, 3, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(count))


def random_subnets(count, space=SPACE):
    rng = random.Random(0)
    return [Subnet.random(space, rng) for _ in range(count)]
