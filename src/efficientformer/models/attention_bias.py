"""The learned bias of attention scores, which depends on the distance of query and key alone (paper, section 4.1).

Entry |dy| * W + |dx| of a table with one row per head. Nothing derived from the table is kept between calls, so weights
may be loaded, cast, copied or trained in any mode.
"""

import torch
from torch import Tensor, nn

from efficientformer.arch.resolution import Grid


class BiasedAttention(nn.Module):
    """Base of every attention: a bias table for the `grid` of its keys, which calls on another grid resize.

    Queries are at every `query_stride`-th row and column of the keys.
    """

    offset_index: Tensor

    def __init__(self, num_heads: int, grid: Grid, query_stride: int = 1) -> None:
        super().__init__()
        self.grid = grid
        self.num_heads = num_heads
        self.query_stride = query_stride
        self.attention_bias = nn.Parameter(torch.zeros(num_heads, grid[0] * grid[1]))
        self.register_buffer("offset_index", offset_index(grid, query_stride), persistent=False)

    def bias(self, grid: Grid) -> Tensor:
        """The bias (h, M, N) between all M queries and N keys of a grid of keys."""
        if grid == self.grid:
            return gather_bias(self.attention_bias, self.offset_index)
        table_hO = resize_attention_bias(self.attention_bias, self.grid, grid)
        return gather_bias(table_hO, offset_index(grid, self.query_stride).to(table_hO.device))

    def resize(self, grid: Grid) -> None:
        """Resize the bias table for another grid, in place."""
        self.attention_bias = nn.Parameter(resize_attention_bias(self.attention_bias.detach(), self.grid, grid))
        self.offset_index = offset_index(grid, self.query_stride).to(self.offset_index.device)
        self.grid = grid


def offset_index(grid: Grid, query_stride: int = 1) -> Tensor:
    """Position |dy| * W + |dx| in the bias table for every query and key, (M, N)."""
    height, width = grid
    # On the CPU, since a network that is built on the meta device needs real offsets.
    rows, columns = torch.arange(height, device="cpu"), torch.arange(width, device="cpu")
    rows_HW, columns_HW = torch.meshgrid(rows, columns, indexing="ij")
    rows_M = rows_HW[::query_stride, ::query_stride].flatten()
    columns_M = columns_HW[::query_stride, ::query_stride].flatten()
    rows_N, columns_N = rows_HW.flatten(), columns_HW.flatten()
    return (rows_M[:, None] - rows_N).abs() * width + (columns_M[:, None] - columns_N).abs()


def gather_bias(table_hO: Tensor, index_MN: Tensor) -> Tensor:
    # index_select has the cheapest gradient on CPUs, and one that sums in a fixed order: runs repeat bit for bit.
    return table_hO.index_select(1, index_MN.flatten()).view(-1, int(index_MN.shape[0]), int(index_MN.shape[1]))


def resize_attention_bias(table_hO: Tensor, grid: Grid, new_grid: Grid) -> Tensor:
    """The bias table for another grid: bilinear between aligned corners, so that offset zero stays offset zero."""
    table_1hHW = table_hO.reshape(1, -1, grid[0], grid[1])
    size = [new_grid[0], new_grid[1]]
    resized_1hHW = nn.functional.interpolate(table_1hHW, size=size, mode="bilinear", align_corners=True)
    return resized_1hHW.reshape(-1, new_grid[0] * new_grid[1])
