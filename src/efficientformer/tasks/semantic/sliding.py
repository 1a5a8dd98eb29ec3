"""Scores by windows that slide over an image: each has the size of the network's input, and their logits are averaged.

The image keeps its aspect and covers the input, so a panorama is not squeezed; it takes as many passes as windows.
"""

import math

from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.data.masks.view import CoveringMaskView
from efficientformer.data.transforms import Preprocessing
from efficientformer.tasks.semantic.kind import Semantic

STRIDE = 2 / 3
"""From one window to the next, as a share of its side, at most."""


class SlidingSemantic(Semantic):
    """The task, where an image is scored window by window. grid: of a window, height and width."""

    eval_batch_size = 1  # images have sizes of their own

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def score_view(self, preprocessing: Preprocessing) -> CoveringMaskView:
        return CoveringMaskView(preprocessing)

    def scored(self, model: nn.Module) -> "Windows":
        return Windows(model, self._grid)


class Windows(nn.Module):
    """A network of images of the size `grid` for images at least as large: logits (B, K, H, W) at their size."""

    def __init__(self, model: nn.Module, grid: Grid) -> None:
        super().__init__()
        self.model, self._grid = model, grid

    def forward(self, x_BCHW: Tensor) -> Tensor:
        height, width = self._grid
        tops, lefts = (starts(size, side) for size, side in zip(x_BCHW.shape[2:], self._grid, strict=True))
        windows = [(..., slice(top, top + height), slice(left, left + width)) for top in tops for left in lefts]
        answers = [self.model(x_BCHW[window]).float() for window in windows]
        total_BKHW = answers[0].new_zeros(*answers[0].shape[:2], *x_BCHW.shape[2:])
        counts_HW = answers[0].new_zeros(x_BCHW.shape[2:])
        for window, logits_BKHW in zip(windows, answers, strict=True):
            total_BKHW[window] += logits_BKHW
            counts_HW[window] += 1
        return total_BKHW / counts_HW


def starts(size: int, side: int) -> list[int]:
    """Where windows of a side begin, at even distances, so that they cover `size` pixels."""
    count = 1 + math.ceil((size - side) / (STRIDE * side))
    return [round(index * (size - side) / max(1, count - 1)) for index in range(count)]
