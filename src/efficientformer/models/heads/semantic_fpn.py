"""A class for every pixel, from a feature pyramid (Panoptic FPN, Kirillov et al., 2019; the paper's section 5.3)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from efficientformer.arch.dense import SemanticFpn
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import Activation
from efficientformer.models.embed import ACTIVATIONS, ConvNorm
from efficientformer.models.heads.fpn import Fpn
from efficientformer.models.heads.predictor import predictor
from efficientformer.models.layout import grid_of
from efficientformer.models.map_attention import upsample


class SemanticFpnHead(nn.Module):
    """Maps (B, C, H, W) of the four stages to logits (B, K, H, W) at the size of the image.

    The levels of the pyramid are brought to the size of the finest and added. Their sum is classified and brought to
    the size of the image. All upsampling is bilinear, without aligned corners; of an odd size the surplus row or column
    is cut off.

    widths: of the stages. activation: in V1 ReLU, in V2 that of the blocks. stride: of the finest level.

    `dropout` is the probability that a training step leaves out a whole map of the sum; by default 0.
    """

    def __init__(
        self, head: SemanticFpn, widths: Sequence[int], num_classes: int, activation: Activation, stride: int
    ) -> None:
        super().__init__()
        self.stride, self.dropout = stride, 0.0
        self.fpn = Fpn(widths, head.fpn_width)
        self.levels = nn.ModuleList(
            SemanticLevel(level, head.fpn_width, head.width, activation) for level in range(len(widths))
        )
        self.classes = predictor(head.width, num_classes, 1)

    def forward(self, maps: list[Tensor], grid: Grid) -> Tensor:
        """`grid` is the height and width of the image."""
        pyramid = self.fpn(maps)
        grids = [grid_of(x_BCHW) for x_BCHW in pyramid]
        finest_BCHW = pyramid[0]
        for index, level in enumerate(self.levels):
            level_BCHW = level(pyramid[index], grids)
            finest_BCHW = level_BCHW if index == 0 else finest_BCHW + level_BCHW
        if self.training and self.dropout:
            finest_BCHW = functional.dropout2d(finest_BCHW, self.dropout)
        return upsample(self.classes(finest_BCHW), self.stride, grid)


class SemanticLevel(nn.Module):
    """A level of the pyramid: 3x3 convolutions with batch norm, each followed by an upsampling to the next finer level,
    until the map has the size of the finest. That level itself has one convolution."""

    def __init__(self, level: int, in_width: int, width: int, activation: Activation) -> None:
        super().__init__()
        self.level, self.activation = level, ACTIVATIONS[activation]
        self.convolutions = nn.ModuleList(
            ConvNorm(width if step else in_width, width, 3) for step in range(max(1, level))
        )

    def forward(self, x_BCHW: Tensor, grids: list[Grid]) -> Tensor:
        """`grids` are the sizes of all levels, finest first."""
        for step, convolution in enumerate(self.convolutions):
            x_BCHW = self.activation(convolution(x_BCHW))
            if self.level > 0:
                x_BCHW = upsample(x_BCHW, 2, grids[self.level - step - 1])
        return x_BCHW
