"""The parts of dense heads as modules of their own, of one input each, for measuring them one by one.

In a head a level is also added to another. Here a map is added to itself, or to a corner of itself of the other's size:
the same work, whatever the values.
"""

import torch
from torch import Tensor, nn

from efficientformer.arch.dense import OneStage
from efficientformer.arch.parts import Part, strided
from efficientformer.arch.resolution import Grid
from efficientformer.models.heads.cells import NUM_LEVELS
from efficientformer.models.heads.decoding import as_rows
from efficientformer.models.heads.fpn import Fpn, add_coarser
from efficientformer.models.heads.one_stage import BoxBranches
from efficientformer.models.heads.predictor import predictor
from efficientformer.models.heads.semantic_fpn import SemanticLevel
from efficientformer.models.map_attention import upsample

STRIDE = 8
"""Of a level in pixels, which makes no difference to its cost."""


class FpnLevel(nn.Module):
    """A stage's map (B, C, H, W) to a level of the pyramid."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        assert part.level is not None
        self.norm: nn.Module = nn.GroupNorm(1, part.in_width) if part.level.is_normed else nn.Identity()
        self.coarser = part.level.out_grid
        self.fpn = Fpn((part.in_width,), part.width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.fpn.laterals[0](self.norm(x_BCHW))
        if self.coarser is not None:
            x_BCHW = add_coarser(x_BCHW, x_BCHW[:, :, : self.coarser[0], : self.coarser[1]])
        return self.fpn.outputs[0](x_BCHW)


class SemanticLevelPart(nn.Module):
    """A level (B, C, H, W) to a map of the finest level's size, added to a sum unless it is the first."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        assert part.level is not None and part.level.out_grid is not None
        self.grids: list[Grid] = [part.level.out_grid]
        while len(self.grids) <= part.level.number:
            self.grids.append(strided(self.grids[-1]))
        self.level = SemanticLevel(part.level.number, part.in_width, part.width, part.activation)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.level(x_BCHW, self.grids)
        return x_BCHW + x_BCHW if self.level.level else x_BCHW


class SemanticClasses(nn.Module):
    """The sum of all levels (B, C, H, W) to logits (B, K, H, W) at the size of the image."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        assert part.level is not None and part.level.out_grid is not None and part.num_classes is not None
        self.grid, self.stride = part.level.out_grid, 1
        while any(-(-side // self.stride) > at for side, at in zip(self.grid, part.grid, strict=True)):
            self.stride *= 2
        self.classes = predictor(part.width, part.num_classes, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return upsample(self.classes(x_BCHW), self.stride, self.grid)


class BoxLevel(nn.Module):
    """A level (B, C, H, W) to its outputs (B, H * W, D), by branches that it shares with the others of a network."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        assert part.level is not None and part.num_classes is not None
        head = OneStage(part.in_width, part.width, part.level.depth)
        self.branches = BoxBranches(head, part.num_classes, part.activation)
        self.scales = nn.Parameter(torch.ones(1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.branches([x_BCHW], self.scales, [STRIDE])[0]


class AllDetections(nn.Module):
    """The outputs of the finest level (B, N, D), repeated for the others, to detections (1, 100, 6)."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        assert part.level is not None and part.level.out_grid is not None
        self.image, self.sizes, grid = part.level.out_grid, list[int](), part.grid
        for _ in range(NUM_LEVELS):
            self.sizes.append(grid[0] * grid[1])
            grid = strided(grid)

    def forward(self, outputs_BND: Tensor) -> Tensor:
        return as_rows(torch.cat([outputs_BND[:, :size] for size in self.sizes], dim=1), self.image)
