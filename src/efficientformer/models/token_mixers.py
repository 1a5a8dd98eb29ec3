"""What mixes positions: pooling on maps, attention with a learned bias on tokens (paper, section 4.1).

The attention bias depends on the distance of two tokens alone: entry |dy| * W + |dx| of a table with one row per head.
Nothing derived from the table is kept between calls, so weights may be loaded, cast, copied or trained in any mode.
"""

import torch
from torch import Tensor, nn

from efficientformer.arch.parts import Grid
from efficientformer.arch.spec import MB3D
from efficientformer.models.init import init_projection


class Pooling(nn.Module):
    """The mean of the 3x3 neighbors inside the map, minus the map itself: the block adds it back."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return average_neighbors(x_BCHW) - x_BCHW


def average_neighbors(x_BCHW: Tensor) -> Tensor:
    # Cells beyond the border do not count: a constant map stays what it is.
    return nn.functional.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


class Attention(nn.Module):
    """Multi-head self-attention whose scores carry a learned bias.

    The bias table is built for `grid`; on another grid it is resized. `x_BNC` must hold one token per cell of the grid.
    """

    offset_index: Tensor

    def __init__(self, width: int, block: MB3D, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.num_heads = block.num_heads
        self.head_dims = (block.key_dim, block.key_dim, block.value_dim)
        self.scale = block.key_dim**-0.5
        self.qkv = init_projection(nn.Linear(width, block.num_heads * sum(self.head_dims)))
        self.proj = init_projection(nn.Linear(block.num_heads * block.value_dim, width))
        self.attention_bias = nn.Parameter(torch.zeros(block.num_heads, grid[0] * grid[1]))
        self.register_buffer("offset_index", offset_index(grid), persistent=False)

    def forward(self, x_BNC: Tensor, grid: Grid | None = None) -> Tensor:
        q_BhND, k_BhND, v_BhND = split_heads(self.qkv(x_BNC), self.num_heads, self.head_dims)
        return self.proj(attend(q_BhND * self.scale, k_BhND, v_BhND, self.bias(grid or self.grid)))

    def bias(self, grid: Grid) -> Tensor:
        """The bias (h, N, N) between all pairs of tokens of a grid."""
        if grid == self.grid:
            return gather_bias(self.attention_bias, self.offset_index)
        table_hO = resize_attention_bias(self.attention_bias, self.grid, grid)
        return gather_bias(table_hO, offset_index(grid).to(table_hO.device))

    def resize(self, grid: Grid) -> None:
        """Build the bias table anew for another grid."""
        self.attention_bias = nn.Parameter(resize_attention_bias(self.attention_bias.detach(), self.grid, grid))
        self.offset_index = offset_index(grid).to(self.offset_index.device)
        self.grid = grid


def split_heads(qkv_BNC: Tensor, num_heads: int, head_dims: tuple[int, int, int]) -> tuple[Tensor, ...]:
    """Queries, keys and values (B, h, N, D) out of one projection, whose channels run head by head."""
    return qkv_BNC.unflatten(2, (num_heads, sum(head_dims))).transpose(1, 2).split(head_dims, dim=3)


def attend(q_BhND: Tensor, k_BhND: Tensor, v_BhND: Tensor, bias_hNN: Tensor) -> Tensor:
    """softmax(q k + bias) v, with the heads side by side again: (B, N, h * D)."""
    scores_BhNN = q_BhND @ k_BhND.transpose(2, 3) + bias_hNN
    return (scores_BhNN.softmax(dim=3) @ v_BhND).transpose(1, 2).flatten(2)


def offset_index(grid: Grid) -> Tensor:
    """Position |dy| * W + |dx| in the bias table for every pair of tokens, (N, N)."""
    height, width = grid
    rows_N = torch.arange(height).repeat_interleave(width)
    columns_N = torch.arange(width).repeat(height)
    return (rows_N[:, None] - rows_N).abs() * width + (columns_N[:, None] - columns_N).abs()


def gather_bias(table_hO: Tensor, index_NN: Tensor) -> Tensor:
    # The gradient of index_select is the cheapest on a processor, and sums in a fixed order: runs repeat bit by bit.
    return table_hO.index_select(1, index_NN.flatten()).view(-1, *index_NN.shape)


def resize_attention_bias(table_hO: Tensor, grid: Grid, new_grid: Grid) -> Tensor:
    """The bias table of another grid: bilinear between aligned corners, so that offset zero stays offset zero."""
    table_1hHW = table_hO.unflatten(1, grid)[None]
    return nn.functional.interpolate(table_1hHW, size=new_grid, mode="bilinear", align_corners=True)[0].flatten(1)
