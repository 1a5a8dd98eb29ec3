"""The cells that predict boxes: where their centers are, and how large the boxes of each level are."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from efficientformer.arch.resolution import Grid
from efficientformer.models.heads.one_stage import cell_strides, points

NUM_LEVELS = 4
FINEST = (2, 4, 8, 16, 32)
"""Strides that the finest level may have, by the network's stem."""
CELLS_A_BOX = 8.0
"""A level has boxes whose longer side is up to so many of its cells, and more than so many of the next finer level. The
finest level has all smaller boxes, the coarsest all larger ones, so every box of any input has a level."""


@dataclass(frozen=True, eq=False)
class Cells:
    """points (A, 2): centers x, y in pixels of the input. strides (A): the side of each cell. least, most (A): the
    longer side of boxes that a cell may have is above the one and at most the other."""

    points: Tensor
    strides: Tensor
    least: Tensor
    most: Tensor


@lru_cache(maxsize=32)
def cells_of(grid: Grid, num_cells: int, device: str = "cpu") -> Cells:
    """The cells of a network with so many outputs for an input of `grid` (height, width): no two strides have as many.

    Raises ValueError for a number that no network has.
    """
    # What is kept is used in training too, whoever asked first.
    with torch.inference_mode(False):
        for finest in FINEST:
            strides = [finest * 2**level for level in range(NUM_LEVELS)]
            points_A2 = points(grid, strides)
            if len(points_A2) == num_cells:
                strides_A = cell_strides(grid, strides)
                most_A = CELLS_A_BOX * strides_A
                least_A = (most_A / 2).where(strides_A > strides[0], 0.0)
                most_A = most_A.where(strides_A < strides[-1], torch.inf)
                return Cells(*(part.to(device) for part in (points_A2, strides_A, least_A, most_A)))
    raise ValueError(f"no network has {num_cells} cells for an input of {grid[0]} x {grid[1]} pixels")
