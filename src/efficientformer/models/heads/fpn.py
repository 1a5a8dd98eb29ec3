"""The feature pyramid between the stages and a dense head (Lin et al., 2017), and what is normalized before it."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from efficientformer.arch.spec import Architecture
from efficientformer.models.layout import grid_of


class Fpn(nn.Module):
    """Maps (B, C, H, W) of consecutive stages, finest first, to maps of one width and the same sizes.

    Every level is a 1x1 convolution of its stage's map plus the next coarser level, of which each cell takes the
    nearest. A 3x3 convolution of a level is what leaves it. Of a level with an odd size, the surplus row or column of
    the coarser one is cut off.

    in_widths: channels of the maps. width: channels of every level.
    """

    def __init__(self, in_widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_init_fpn(nn.Conv2d(in_width, width, 1)) for in_width in in_widths)
        self.outputs = nn.ModuleList(_init_fpn(nn.Conv2d(width, width, 3, padding=1)) for _ in in_widths)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        levels: list[Tensor] = []
        for index, lateral in enumerate(self.laterals):
            levels.append(lateral(maps[index]))
        for index in range(len(levels) - 2, -1, -1):
            levels[index] = add_coarser(levels[index], levels[index + 1])
        pyramid: list[Tensor] = []
        for index, output in enumerate(self.outputs):
            pyramid.append(output(levels[index]))
        return pyramid


def add_coarser(level_BCHW: Tensor, coarser_BCHW: Tensor) -> Tensor:
    """A level plus the next coarser one, of which each cell takes the nearest."""
    height, width = grid_of(level_BCHW)
    coarser_BCHW = interpolate(coarser_BCHW, scale_factor=2.0, mode="nearest")
    if grid_of(coarser_BCHW) != (height, width):
        coarser_BCHW = coarser_BCHW[:, :, :height, :width]
    return level_BCHW + coarser_BCHW


def output_norms(architecture: Architecture, *, first_stage: int = 0, has_norms: bool | None = None) -> nn.ModuleList:
    """The norm of the map that leaves each stage, over channels and cells together; identity for stages before
    `first_stage`, which nobody reads.

    Without `has_norms` the first family has them and V2 has not, as in the authors' backbones.
    """
    has_norms = not architecture.is_v2 if has_norms is None else has_norms
    return nn.ModuleList(
        nn.GroupNorm(1, width) if has_norms and index >= first_stage else nn.Identity()
        for index, width in enumerate(architecture.widths)
    )


def _init_fpn(layer: nn.Conv2d) -> nn.Conv2d:
    """Weights uniform with variance 1 / fan-in, as is usual for pyramids, and no bias."""
    if not layer.weight.is_meta:
        nn.init.kaiming_uniform_(layer.weight, a=1)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    return layer
