"""Initial weights as in the released code; the paper does not describe them.

Linear layers and the 1x1 convolutions of the MLPs draw from a normal distribution, which the released code truncates at
a hundred standard deviations; the 3x3 convolutions of stem and downsample keep PyTorch's default.
"""

from typing import TypeVar

from torch import nn

Projection = TypeVar("Projection", nn.Linear, nn.Conv2d)


def init_projection(layer: Projection) -> Projection:
    """Weights from a normal distribution with standard deviation 0.02, biases zero."""
    if layer.weight.is_meta:  # it has no values, and drawing them would take longer than all the rest
        return layer
    nn.init.normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
