"""The head that an architecture names."""

from typing import assert_never

from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.spec import Activation, Architecture
from efficientformer.models.heads.one_stage import OneStageHead, level_strides
from efficientformer.models.heads.semantic_fpn import SemanticFpnHead

DenseHeadModule = SemanticFpnHead | OneStageHead


def build_head(architecture: Architecture, num_classes: int) -> DenseHeadModule:
    """The dense head of an architecture that has one, freshly initialized. It takes the maps of the four stages, finest
    first, and the size of the image."""
    activation: Activation = architecture.activation if architecture.is_v2 else "relu"
    match architecture.head:
        case SemanticFpn() as head:
            return SemanticFpnHead(head, architecture.widths, num_classes, activation)
        case OneStage() as head:
            return OneStageHead(head, architecture.widths, num_classes, activation, level_strides(architecture))
        case None:
            raise AssertionError("a classifier's head is linear")
        case _:
            assert_never(architecture.head)
