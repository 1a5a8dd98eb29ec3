"""The two layouts of the dimension-consistent design (paper, section 4.1) and the conversions between them.

Legend of the suffixes in this package: B images, C channels, H rows and W columns of a map, N = H * W tokens in
row-major order, K classes, h attention heads, D channels of a head, O offsets of an attention bias table.

Shapes are plain integers, and -1 for the number of images, while a network is traced too: an exported file reshapes to
constants, which converters and quantizers need, for one number of images as for any.
"""

from torch import Tensor, nn

from efficientformer.arch.resolution import Grid


def flatten(x_BCHW: Tensor) -> Tensor:
    """Map to tokens (B, N, C)."""
    height, width = grid_of(x_BCHW)
    return x_BCHW.reshape(-1, channels_of(x_BCHW), height * width).transpose(1, 2)


def unflatten(x_BNC: Tensor, grid: Grid) -> Tensor:
    """Tokens back to the map (B, C, H, W) that they came from."""
    return x_BNC.transpose(1, 2).reshape(-1, int(x_BNC.shape[2]), grid[0], grid[1])


def grid_of(x_BCHW: Tensor) -> Grid:
    return int(x_BCHW.shape[2]), int(x_BCHW.shape[3])


def channels_of(x_BCHW: Tensor) -> int:
    return int(x_BCHW.shape[1])


class Flatten(nn.Module):
    """`flatten` as a module."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return flatten(x_BCHW)


class Unflatten(nn.Module):
    """`unflatten` as a module, for one grid."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x_BNC: Tensor) -> Tensor:
        return unflatten(x_BNC, self.grid)
