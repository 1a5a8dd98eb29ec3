"""Steps of fusing that several blocks share."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from efficientformer.arch.resolution import Grid
from efficientformer.errors import UsageError
from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.embed import ConvNorm
from efficientformer.models.initialization import Projection
from efficientformer.models.layout import channels_of, grid_of


def scaled(layer: Projection, scale_C: Tensor) -> Projection:
    """Multiply the output channels of a layer, in place."""
    assert layer.bias is not None
    layer.weight.mul_(scale_C.view(-1, *[1] * (layer.weight.ndim - 1)))
    layer.bias.mul_(scale_C)
    return layer


def folded(layer: ConvNorm) -> nn.Conv2d:
    """One convolution that replaces a convolution and its batch norm."""
    return fuse_conv_bn_eval(layer.conv, layer.norm)


def joined(layers: list[nn.Conv2d]) -> nn.Conv2d:
    """One convolution with the concatenated output channels of several 1x1 convolutions."""
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers if layer.bias is not None]
    result = nn.Conv2d(layers[0].in_channels, sum(layer.out_channels for layer in layers), 1)
    result.weight, result.bias = nn.Parameter(torch.cat(weights)), nn.Parameter(torch.cat(biases))
    return result


class MapNorm(nn.Module):
    """The norm of a map (B, C, H, W) over channels and cells together, without weights; reshapes are to constants."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x_BCHW: Tensor) -> Tensor:
        channels, (height, width) = channels_of(x_BCHW), grid_of(x_BCHW)
        x_B1N = nn.functional.instance_norm(x_BCHW.reshape(-1, 1, channels * height * width), eps=self.eps)
        return x_B1N.reshape(-1, channels, height, width)


def deployed_norm(norm: nn.Module, reader: nn.Module) -> nn.Module:
    """The norm of a map without its weights, which go into the 1x1 convolution that reads it; another module as it
    is."""
    if not isinstance(norm, nn.GroupNorm):
        return norm
    assert isinstance(reader, nn.Conv2d) and reader.bias is not None and norm.num_groups == 1
    reader.bias.add_(reader.weight.flatten(1) @ norm.bias)
    reader.weight.mul_(norm.weight[:, None, None])
    return MapNorm(norm.eps)


def constant_bias(attention: BiasedAttention) -> Tensor:
    """The bias for the one grid that the network was made for."""
    return attention.bias(attention.grid).contiguous()


def require_grid(grid: Grid, expected: Grid) -> None:
    """Raise UsageError when a deploy form is called with images of another size."""
    if grid != expected:
        raise UsageError(
            f"This deploy form attends over a {expected} grid, not {grid}; call at_resolution first, then fuse."
        )
