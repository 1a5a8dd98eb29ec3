"""A class for every pixel, from a feature pyramid (Panoptic FPN, Kirillov et al., 2019; the paper's section 5.3)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from efficientformer.arch.dense import SemanticFpn
from efficientformer.arch.parts import Grid
from efficientformer.arch.spec import Activation
from efficientformer.models.embed import ACTIVATIONS, ConvNorm
from efficientformer.models.heads.fpn import Fpn
from efficientformer.models.heads.predictor import predictor
from efficientformer.models.layout import grid_of


class SemanticFpnHead(nn.Module):
    """Maps (B, C, H, W) of the four stages to logits (B, K, H, W) at the size of the image.

    A level passes 3x3 convolutions with batch norm, each followed by an upsampling to the next finer size, until it has
    that of the finest; the finest passes one. Their sum is classified and brought to the size of the image. All
    upsampling is bilinear, without aligned corners.

    widths: of the stages. activation: in V1 ReLU, in V2 that of the blocks.
    """

    def __init__(self, head: SemanticFpn, widths: Sequence[int], num_classes: int, activation: Activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fpn = Fpn(widths, head.fpn_width)
        self.levels = nn.ModuleList(
            nn.ModuleList(
                ConvNorm(head.width if step else head.fpn_width, head.width, 3) for step in range(max(1, ups))
            )
            for ups in range(len(widths))
        )
        self.classes = predictor(head.width, num_classes, 1)

    def forward(self, maps: list[Tensor], grid: Grid) -> Tensor:
        """`grid` is the height and width of the image."""
        pyramid = self.fpn(maps)
        finest_BCHW = pyramid[0]
        for index, convolutions in enumerate(self.levels):
            level_BCHW = pyramid[index]
            for step, convolution in enumerate(convolutions):
                level_BCHW = self.activation(convolution(level_BCHW))
                if index > 0:
                    level_BCHW = _upsampled(level_BCHW, grid_of(pyramid[index - step - 1]))
            finest_BCHW = level_BCHW if index == 0 else finest_BCHW + level_BCHW
        return _upsampled(self.classes(finest_BCHW), grid)


def _upsampled(x_BCHW: Tensor, grid: Grid) -> Tensor:
    return interpolate(x_BCHW, size=grid, mode="bilinear", align_corners=False)
