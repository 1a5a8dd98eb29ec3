"""Boxes in one stage, without anchors: every cell of every level predicts one box (after FCOS, Tian et al., 2019)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from efficientformer.arch.dense import OneStage
from efficientformer.arch.resolution import Grid, grid_of_input
from efficientformer.arch.spec import Activation, Architecture
from efficientformer.models.embed import ACTIVATIONS, ConvNorm
from efficientformer.models.heads.fpn import Fpn
from efficientformer.models.heads.predictor import predictor
from efficientformer.models.layout import flatten

NUM_SIDES = 4
PRIOR = 0.01
"""The probability of every class in the first step, which keeps the many cells without an object from ruling it."""


class OneStageHead(nn.Module):
    """Maps (B, C, H, W) of stages 2 to 4 to outputs (B, A, D), of A cells of all levels, the finest level first and row
    by row.

    D is 4 + 1 + K: distances left, top, right and bottom from the center of the cell to the sides of its box, in pixels
    of the image and never negative; a logit of how central the cell lies in it; K class logits. `points` are the
    centers, `strides` the levels' strides.

    widths: of the four stages. activation: in V1 ReLU, in V2 that of the blocks.
    """

    def __init__(
        self, head: OneStage, widths: Sequence[int], num_classes: int, activation: Activation, strides: Sequence[int]
    ) -> None:
        super().__init__()
        self.strides = list(strides)
        self.fpn = Fpn(widths[head.first_stage :], head.fpn_width)
        self.further = further_level(head.fpn_width)
        self.branches = BoxBranches(head, num_classes, activation)
        self.scales = nn.Parameter(torch.ones(len(self.strides)))

    def forward(self, maps: list[Tensor], grid: Grid) -> Tensor:
        """The outputs do not depend on `grid`, the size of the image."""
        pyramid: list[Tensor] = self.fpn(maps[1:])
        pyramid.append(self.further(pyramid[-1]))
        return torch.cat(self.branches(pyramid, self.scales, self.strides), dim=1)


def split_outputs(outputs_BAD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances (B, A, 4), centrality (B, A) and classes (B, A, K) of outputs, which are float32 from here on."""
    outputs_BAD = outputs_BAD.float()
    return outputs_BAD[..., :NUM_SIDES], outputs_BAD[..., NUM_SIDES], outputs_BAD[..., NUM_SIDES + 1 :]


def further_level(width: int) -> nn.Conv2d:
    """From the coarsest level of the pyramid to one of half its size."""
    return nn.Conv2d(width, width, 3, stride=2, padding=1)


class BoxBranches(nn.Module):
    """The two branches that all levels share: one for box and centerness, one for the classes."""

    def __init__(self, head: OneStage, num_classes: int, activation: Activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.box_tower, self.class_tower = _tower(head), _tower(head)
        self.boxes = predictor(head.width, NUM_SIDES + 1, 3)
        self.classes = predictor(head.width, num_classes, 3, bias=-math.log((1 - PRIOR) / PRIOR))

    def forward(self, pyramid: list[Tensor], scales: Tensor, strides: list[int]) -> list[Tensor]:
        """Levels (B, C, H, W) to their outputs (B, H * W, D)."""
        box_maps, class_maps = pyramid, pyramid
        for layer in self.box_tower:
            box_maps = [self.activation(x_BCHW) for x_BCHW in layer.forward_levels(box_maps)]  # type: ignore[operator]
        for layer in self.class_tower:
            class_maps = [self.activation(x_BCHW) for x_BCHW in layer.forward_levels(class_maps)]  # type: ignore[operator]
        levels: list[Tensor] = []
        for index, stride in enumerate(strides):
            box_BND = flatten(self.boxes(box_maps[index]))
            distances_BN4 = softplus(box_BND[:, :, :-1] * scales[index]) * stride
            classes_BNK = flatten(self.classes(class_maps[index]))
            levels.append(torch.cat([distances_BN4, box_BND[:, :, -1:], classes_BNK], dim=2))
        return levels


class SharedConvNorm(ConvNorm):
    """A convolution and batch norm that all levels share. Training normalizes the cells of all levels together, so
    that one set of running statistics is right for each of them. So does judging, which sets the norm alone to training
    mode."""

    def forward_levels(self, levels: list[Tensor]) -> list[Tensor]:
        """Maps (B, C, H, W) of any sizes."""
        maps = [self.conv(x_BCHW) for x_BCHW in levels]
        if not self.norm.training:
            return [self.norm(x_BCHW) for x_BCHW in maps]
        joined_BCN1 = torch.cat([x_BCHW.flatten(2) for x_BCHW in maps], dim=2).unsqueeze(3)
        parts = self.norm(joined_BCN1).squeeze(3).split([x_BCHW.shape[2] * x_BCHW.shape[3] for x_BCHW in maps], dim=2)
        return [part_BCN.reshape(x_BCHW.shape) for part_BCN, x_BCHW in zip(parts, maps)]  # noqa: B905


def level_strides(architecture: Architecture) -> tuple[int, ...]:
    """Strides of the levels of a `OneStage` head, finest first: 8, 16, 32 and 64 behind the paper's stem."""
    stem = math.prod(architecture.stem_strides)
    return tuple(stem * 2**level for level in range(OneStage.first_stage, len(architecture.stages) + 1))


def points(resolution: int | Grid, strides: Sequence[int]) -> Tensor:
    """The centers x, y of all cells in pixels of the image, (A, 2), in the order of the head's outputs."""
    levels = []
    for stride, (height, width) in zip(strides, _grids(resolution, strides), strict=True):
        y_HW, x_HW = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        levels.append((torch.stack([x_HW, y_HW], dim=2).flatten(0, 1) + 0.5) * stride)
    return torch.cat(levels)


def cell_strides(resolution: int | Grid, strides: Sequence[int]) -> Tensor:
    """The stride of every cell, (A,), in the order of `points`."""
    counts = [height * width for height, width in _grids(resolution, strides)]
    return torch.tensor(list(strides)).repeat_interleave(torch.tensor(counts)).float()


def _grids(resolution: int | Grid, strides: Sequence[int]) -> list[Grid]:
    """Sizes of the levels: of odd maps the next has half a cell more."""
    height, width = grid_of_input(resolution)
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


def _tower(head: OneStage) -> nn.ModuleList:
    return nn.ModuleList(
        SharedConvNorm(head.width if index else head.fpn_width, head.width, 3) for index in range(head.depth)
    )
