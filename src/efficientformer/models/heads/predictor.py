"""The last convolution of a dense head."""

from torch import nn


def predictor(width: int, num_outputs: int, kernel: int, bias: float = 0.0) -> nn.Conv2d:
    """A padded convolution with weights from a normal distribution with standard deviation 0.01 and this bias."""
    layer = nn.Conv2d(width, num_outputs, kernel, padding=kernel // 2)
    if not layer.weight.is_meta:
        assert layer.bias is not None
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(layer.bias, bias)
    return layer
