"""The blocks of one resolution, after the downsample that leads to it."""

import itertools
from typing import Any, Final, assert_never

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from efficientformer.arch import spec
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import DEFAULT_ACTIVATION, FFN, MB3D, MB4D, Activation, Architecture, AttnFFN
from efficientformer.models.embed import Downsample
from efficientformer.models.layout import flatten, grid_of, unflatten
from efficientformer.models.map_attention import AttentionDownsample
from efficientformer.models.metablocks import AttnFFNBlock, FFNBlock, MB3DBlock, MB4DBlock

BlockModule = MB4DBlock | MB3DBlock | FFNBlock | AttnFFNBlock


class Stage(nn.Module):
    """A downsample and the blocks of one resolution: those on maps, then every MB3D on tokens.

    Maps (B, C, H, W) to maps, or with `gives_tokens`, as the head needs them, to tokens (B, N, C). With `recompute` the
    backward pass recomputes the inside of each block instead of storing it.
    """

    recompute = False
    num_on_maps: Final[int]  # TorchScript slices the blocks at a constant

    def __init__(
        self,
        stage: spec.Stage,
        grid: Grid,
        *,
        downsample: nn.Module,
        gives_tokens: bool,
        drop_paths: list[float],
        layer_scale_init: float,
        activation: Activation = DEFAULT_ACTIVATION,
    ) -> None:
        super().__init__()
        self.gives_tokens = gives_tokens
        self.downsample = downsample
        self.blocks = nn.ModuleList(
            build_block(
                stage.width,
                block,
                grid,
                drop_path=drop_path,
                layer_scale_init=layer_scale_init,
                activation=activation,
            )
            for block, drop_path in zip(stage.blocks, drop_paths, strict=True)
        )
        self.num_on_maps = stage.depth - stage.num_on_tokens

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.downsample(x_BCHW)
        for block in self.blocks[: self.num_on_maps]:
            x_BCHW = block.forward(x_BCHW) if torch.jit.is_scripting() else self._run(block, x_BCHW)
        return self.forward_tokens(x_BCHW)

    def forward_tokens(self, x_BCHW: Tensor) -> Tensor:
        """Everything after the last block on maps: every MB3D, and the conversion to the output layout."""
        if self.num_on_maps == len(self.blocks) and not self.gives_tokens:
            return x_BCHW
        grid = grid_of(x_BCHW)
        x_BNC = flatten(x_BCHW)
        for block in self.blocks[self.num_on_maps :]:
            x_BNC = block.forward(x_BNC, grid) if torch.jit.is_scripting() else self._run(block, x_BNC, grid)
        return x_BNC if self.gives_tokens else unflatten(x_BNC, grid)

    def _run(self, block: nn.Module, *inputs: Tensor | Grid) -> Tensor:
        if self.recompute and self.training:
            return checkpoint(block, *inputs, use_reentrant=False)  # type: ignore[return-value]
        return block(*inputs)


def build_block(
    width: int,
    block: spec.Block,
    grid: Grid,
    *,
    drop_path: float = 0.0,
    layer_scale_init: float = 1e-5,
    activation: Activation = DEFAULT_ACTIVATION,
) -> BlockModule:
    options: dict[str, Any] = {
        "drop_path": drop_path,
        "layer_scale_init": layer_scale_init,
        "activation": activation,
    }
    match block:
        case MB4D():
            return MB4DBlock(width, block, **options)
        case FFN():
            return FFNBlock(width, block, **options)
        case AttnFFN():
            return AttnFFNBlock(width, block, grid, **options)
        case MB3D():
            return MB3DBlock(width, block, grid, **options)
        case _:
            assert_never(block)


def build_downsample(architecture: Architecture, index: int, grid: Grid) -> nn.Module:
    """The downsample into a stage, from a map of `grid`; identity for the first stage."""
    if not index:
        return nn.Identity()
    in_width, width = architecture.widths[index - 1 : index + 1]
    if architecture.is_v2 and index == spec.NUM_STAGES - 1:
        return AttentionDownsample(in_width, width, grid, architecture.activation)
    return Downsample(in_width, width)


def drop_path_ramp(architecture: Architecture, rate: float) -> list[list[float]]:
    """Drop path per stage and block, growing linearly from 0 at the first block to `rate` at the last."""
    last = max(1, sum(architecture.depths) - 1)
    ramp = iter(rate * index / last for index in range(last + 1))
    return [list(itertools.islice(ramp, depth)) for depth in architecture.depths]
