"""The two layouts of the dimension-consistent design (paper, section 4.1) and the conversions between them.

Legend of the suffixes in this package: B images, C channels, H rows and W columns of a map, N = H * W tokens in
row-major order, K classes, h attention heads, D channels of a head, O offsets of an attention bias table.
"""

from torch import Tensor, nn

from efficientformer.arch.parts import Grid


def flatten(x_BCHW: Tensor) -> Tensor:
    """Map to tokens (B, N, C)."""
    return x_BCHW.flatten(2).transpose(1, 2)


def unflatten(x_BNC: Tensor, grid: Grid) -> Tensor:
    """Tokens back to the map (B, C, H, W) that they came from."""
    return x_BNC.transpose(1, 2).unflatten(2, grid)


def grid_of(x_BCHW: Tensor) -> Grid:
    # Plain integers even while tracing: an exported file has one fixed size.
    return int(x_BCHW.shape[2]), int(x_BCHW.shape[3])


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
