"""The parts of a network as modules of their own, for measuring them one by one.

`arch.parts.network_parts` lists them; chained in that order they are what its exported file computes.
"""

from typing import assert_never

import torch
from torch import Tensor, nn

from efficientformer.arch.parts import Part
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import DEFAULT_ACTIVATION, MHSA, Activation
from efficientformer.models.embed import Downsample, Stem
from efficientformer.models.heads.one_stage import NUM_SIDES, further_level
from efficientformer.models.heads.parts import AllDetections, BoxLevel, FpnLevel, SemanticClasses, SemanticLevelPart
from efficientformer.models.initialization import init_projection
from efficientformer.models.layout import Flatten, Unflatten
from efficientformer.models.map_attention import AttentionDownsample, MapAttention
from efficientformer.models.stage import build_block


class Head(nn.Module):
    """Tokens (B, N, C) to logits (B, K): layer norm, mean over tokens, linear."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.head = init_projection(nn.Linear(width, num_classes))

    def forward(self, x_BNC: Tensor) -> Tensor:
        return self.head(self.norm(x_BNC).mean(dim=1))


class MapHead(nn.Module):
    """A map (B, C, H, W) to logits (B, K): batch norm, mean over the map, linear (V2)."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.head = init_projection(nn.Linear(width, num_classes))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.head(self.norm(x_BCHW).mean(dim=(2, 3)))


class MHSAHalf(nn.Module):
    """The attention of an AttnFFN block on maps (B, C, H, W), without its FFN. `grid` is that of the input."""

    def __init__(
        self,
        width: int,
        options: MHSA,
        grid: Grid,
        activation: Activation = DEFAULT_ACTIVATION,
        *,
        layer_scale_init: float = 1e-5,
    ) -> None:
        super().__init__()
        self.token_mixer = MapAttention(width, options, grid, activation)
        self.layer_scale_1 = nn.Parameter(torch.full((width,), layer_scale_init))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.layer_scale_1[:, None, None] * self.token_mixer(x_BCHW)


def build_part(part: Part) -> nn.Module:
    """The module of one part, freshly initialized."""
    match part.kind:
        case "stem":
            assert part.strides is not None
            return Stem(part.width, part.strides, part.in_width, activation=part.activation)
        case "MB4D" | "MB3D" | "FFN":
            assert part.block is not None and not isinstance(part.block, MHSA)
            return build_block(part.width, part.block, part.grid, activation=part.activation)
        case "MHSA":
            assert isinstance(part.block, MHSA)
            return MHSAHalf(part.width, part.block, part.grid, part.activation)
        case "flatten":
            return Flatten()
        case "unflatten":
            return Unflatten(part.grid)
        case "downsample":
            return Downsample(part.in_width, part.width)
        case "attention_downsample":
            return AttentionDownsample(part.in_width, part.width, part.grid, part.activation)
        case "head":
            assert part.num_classes is not None
            return Head(part.width, part.num_classes)
        case "map_head":
            assert part.num_classes is not None
            return MapHead(part.width, part.num_classes)
        case "fpn_level":
            return FpnLevel(part)
        case "fpn_further":
            return further_level(part.width)
        case "semantic_level":
            return SemanticLevelPart(part)
        case "semantic_classes":
            return SemanticClasses(part)
        case "box_level":
            return BoxLevel(part)
        case "detections":
            return AllDetections(part)
        case _:
            assert_never(part.kind)


def part_input_shape(part: Part, batch_size: int = 1) -> tuple[int, ...]:
    """What `build_part(part)` takes: (B, C, H, W), or (B, N, C) for the parts that work on tokens or on outputs."""
    height, width = part.grid
    match part.kind:
        case "MB3D" | "unflatten" | "head":
            return batch_size, height * width, part.in_width
        case "detections":
            assert part.num_classes is not None
            return batch_size, height * width, NUM_SIDES + 1 + part.num_classes
        case _:
            return batch_size, part.in_width, height, width
