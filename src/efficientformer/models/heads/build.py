"""The head that an architecture names."""

import math
from typing import assert_never

from torch import Tensor, nn

from efficientformer.arch.dense import MaskRcnn, OneStage, SemanticFpn
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import Architecture
from efficientformer.models.heads.fpn import output_norms
from efficientformer.models.heads.mask_rcnn import MaskRcnnHead
from efficientformer.models.heads.one_stage import OneStageHead, level_strides
from efficientformer.models.heads.semantic_fpn import SemanticFpnHead

DenseHeadModule = SemanticFpnHead | OneStageHead | MaskRcnnHead


def build_head(architecture: Architecture, num_classes: int) -> DenseHeadModule:
    """The dense head of an architecture that has one, freshly initialized. It takes the maps of the four stages, finest
    first, and the size of the image."""
    activation = architecture.head_activation
    match architecture.head:
        case SemanticFpn() as head:
            stride = math.prod(architecture.stem_strides)
            return SemanticFpnHead(head, architecture.widths, num_classes, activation, stride)
        case OneStage() as head:
            return OneStageHead(head, architecture.widths, num_classes, activation, level_strides(architecture))
        case MaskRcnn() as head:
            return MaskRcnnHead(head, architecture.widths, num_classes, math.prod(architecture.stem_strides))
        case None:
            raise AssertionError("a classifier's head is linear")
        case _:
            assert_never(architecture.head)


class DenseEnd(nn.Module):
    """What is behind the stages of an architecture with a dense head, with the names that it has in the network."""

    def __init__(self, architecture: Architecture, num_classes: int) -> None:
        super().__init__()
        assert architecture.head is not None
        self.output_norms = output_norms(architecture, first_stage=architecture.head.first_stage)
        self.head = build_head(architecture, num_classes)

    def forward(self, maps: list[Tensor], grid: Grid) -> Tensor:
        """Maps (B, C, H, W) of the four stages, and the size of the image."""
        return self.head([norm(map_) for norm, map_ in zip(self.output_norms, maps, strict=True)], grid)
