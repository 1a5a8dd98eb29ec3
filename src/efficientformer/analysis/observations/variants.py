"""Networks with one design choice changed, built from our own blocks: the subjects of the experiments.

Everything is in deploy form: batch norm is folded, layer norm and group norm cannot be. Weights are random, since
latency does not depend on them. Suffixes of tensor names are those of `models.layout`.
"""

import itertools
from collections.abc import Callable, Iterable

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import FFN, MB3D, MB4D, Activation, Architecture, Strides
from efficientformer.latency.tables.preparation import LAYER_SCALE
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import DeployMB3D, DeployMB4D, fuse
from efficientformer.models.embed import ACTIVATIONS as FUNCTIONS
from efficientformer.models.embed import Stem
from efficientformer.models.layout import Flatten, flatten, unflatten
from efficientformer.models.stage import build_block
from efficientformer.models.token_mixers import average_neighbors

NUM_CLASSES = 1000

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "GELU": nn.GELU,
    "ReLU": nn.ReLU,
    "HardSwish": nn.Hardswish,
    "SiLU": nn.SiLU,
    "tanh-GELU": lambda: nn.GELU(approximate="tanh"),
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group norm": lambda width: nn.GroupNorm(1, width),
    "layer norm": LayerNorm2d,
}
"""Norms of maps: over all channels and positions, as in PoolFormer, and over the channels of each position."""


class MapMlp(nn.Module):
    """The MLP half of an MB4D in deploy form, on maps (B, C, H, W), with a choice of activation and norm."""

    def __init__(self, block: DeployMB4D, activation: str = "GELU", norm: str | None = None) -> None:
        super().__init__()
        self.fc1 = _with_norm(block.fc1, norm)
        self.activation = ACTIVATIONS[activation]()
        self.fc2 = _with_norm(block.fc2, norm)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.fc2(self.activation(self.fc1(x_BCHW)))


class MapBlock(nn.Module):
    """An MB4D in deploy form with a choice of activation and norm."""

    def __init__(self, block: DeployMB4D, activation: str = "GELU", norm: str | None = None) -> None:
        super().__init__()
        assert block.kept_share is not None
        self.kept_share, self.pooled_share = block.kept_share, block.pooled_share
        self.mlp = MapMlp(block, activation, norm)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.mlp(self.kept_share * x_BCHW + self.pooled_share * average_neighbors(x_BCHW))


class TokenMlp(nn.Module):
    """The MLP half of an MB3D, on tokens (B, N, C): layer norm, linear, GELU, linear."""

    def __init__(self, block: DeployMB3D) -> None:
        super().__init__()
        self.norm, self.mlp = block.norm2, block.mlp

    def forward(self, x_BNC: Tensor) -> Tensor:
        return x_BNC + self.mlp(self.norm(x_BNC))


class TokenMixing(nn.Module):
    """The attention half of an MB3D, on tokens (B, N, C)."""

    def __init__(self, block: DeployMB3D) -> None:
        super().__init__()
        self.norm, self.token_mixer = block.norm1, block.token_mixer

    def forward(self, x_BNC: Tensor) -> Tensor:
        return x_BNC + self.token_mixer(self.norm(x_BNC))


class FusedMBConv(nn.Module):
    """Fused MBConv of EfficientNetV2 in deploy form, on maps (B, C, H, W): a 3x3 convolution that expands and a 1x1
    convolution that projects, where an FFN has three convolutions. It is timed only; no network here is built from it.
    """

    def __init__(self, width: int, expansion: int, activation: Activation) -> None:
        super().__init__()
        self.activation = FUNCTIONS[activation]
        self.expand = nn.Conv2d(width, width * expansion, 3, padding=1)
        self.project = nn.Conv2d(width * expansion, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.project(self.activation(self.expand(x_BCHW)))


class MixedStage(nn.Module):
    """Blocks in any order, with a reshape before an MB4D that follows tokens or an MB3D that follows maps.

    The input is maps (B, C, H, W); the output is tokens (B, N, C) with `ends_in_tokens`, maps without.
    """

    def __init__(self, entry: nn.Module, blocks: Iterable[nn.Module], grid: Grid, *, ends_in_tokens: bool) -> None:
        super().__init__()
        self.entry = entry
        self.blocks = nn.ModuleList(blocks)
        self.grid = grid
        self.ends_in_tokens = ends_in_tokens

    def forward(self, x: Tensor) -> Tensor:
        x, has_tokens = self.entry(x), False
        for block in self.blocks:
            x, has_tokens = self._reshaped(x, has_tokens, isinstance(block, DeployMB3D))
            x = block(x)
        return self._reshaped(x, has_tokens, self.ends_in_tokens)[0]

    def _reshaped(self, x: Tensor, has_tokens: bool, wants_tokens: bool) -> tuple[Tensor, bool]:
        if has_tokens == wants_tokens:
            return x, has_tokens
        return (flatten(x) if wants_tokens else unflatten(x, self.grid)), wants_tokens


def patch_embedding(width: int, kernel: int, stride: int) -> nn.Conv2d:
    """One convolution from the image to maps (B, width, H / stride, W / stride)."""
    return nn.Conv2d(3, width, kernel, stride, padding=(kernel - stride + 1) // 2)


def convolution_stem(width: int, num_convolutions: int) -> nn.Sequential:
    """3x3 convolutions of stride 2 with folded batch norm and ReLU; channels double from one to the next."""
    widths = [3, *(width >> halvings for halvings in reversed(range(num_convolutions)))]
    layers: list[nn.Module] = []
    for in_width, out_width in itertools.pairwise(widths):
        layers += [nn.Conv2d(in_width, out_width, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def chain(width: int, blocks: list[nn.Module], *, on_tokens: bool) -> nn.Sequential:
    """Blocks after a nearly free convolution, whose input is an image of the size of their maps.

    In every network maps are the output of a convolution, and runtimes keep the memory layout that it chose.
    """
    entry: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
    return nn.Sequential(*entry, *([Flatten()] if on_tokens else []), *blocks)


def map_block(width: int, grid: Grid) -> DeployMB4D:
    """A new MB4D in deploy form."""
    block = fuse(build_block(width, MB4D(), grid, layer_scale_init=LAYER_SCALE))
    assert isinstance(block, DeployMB4D)
    return block


def token_block(width: int, grid: Grid) -> DeployMB3D:
    """A new MB3D in deploy form."""
    block = fuse(build_block(width, MB3D(), grid, layer_scale_init=LAYER_SCALE))
    assert isinstance(block, DeployMB3D)
    return block


def ffn_block(width: int, expansion: int, grid: Grid, activation: Activation) -> nn.Module:
    """A new FFN of EfficientFormerV2 in deploy form."""
    return fuse(build_block(width, FFN(expansion), grid, layer_scale_init=LAYER_SCALE, activation=activation))


def stem(width: int, strides: Strides, activation: Activation) -> nn.Module:
    """A new stem in deploy form."""
    return fuse(Stem(width, strides, activation=activation))


def mixed_blocks(width: int, grid: Grid, depth: int, *, alternating: bool) -> list[nn.Module]:
    """Half of the blocks MB4D and half MB3D, alternating or one kind after the other."""
    kinds = [map_block, token_block] * (depth // 2) if alternating else [map_block] * (depth // 2)
    kinds += [] if alternating else [token_block] * (depth // 2)
    return [make(width, grid) for make in kinds]


def mixed_chain(width: int, grid: Grid, depth: int, *, alternating: bool) -> MixedStage:
    """`mixed_blocks` after the convolution of `chain`."""
    entry = nn.Conv2d(3, width, 3, padding=1)
    return MixedStage(entry, mixed_blocks(width, grid, depth, alternating=alternating), grid, ends_in_tokens=True)


def whole_network(architecture: Architecture, resolution: int) -> nn.Module:
    """The network in deploy form."""
    return fuse(
        create_model(architecture, num_classes=NUM_CLASSES, resolution=resolution, layer_scale_init=LAYER_SCALE)
    )


def with_stem(network: nn.Module, stem: nn.Module) -> nn.Module:
    """The network with another stem, in place."""
    network.set_submodule("stem", stem)
    return network


def with_map_norm(network: nn.Module, norm: str) -> nn.Module:
    """The network with this norm instead of batch norm in every MB4D."""
    return _replaced(network, DeployMB4D, lambda block: MapBlock(block, norm=norm))


def with_activation(network: nn.Module, activation: str) -> nn.Module:
    """The network with this activation in every block; the stem keeps its ReLU."""
    _replaced(network, DeployMB4D, lambda block: MapBlock(block, activation))
    return _replaced(network, DeployMB3D, lambda block: _with_token_activation(block, activation))


def with_mixed_stages(
    network: nn.Module, architecture: Architecture, grids: list[Grid], indices: Iterable[int], *, alternating: bool
) -> nn.Module:
    """The network with half of each of these stages MB3D, alternating or with one boundary. An odd block is dropped."""
    for index in indices:
        stage = architecture.stages[index]
        blocks = mixed_blocks(stage.width, grids[index], stage.depth, alternating=alternating)
        entry = network.get_submodule(f"stages.{index}.downsample")
        mixed = MixedStage(entry, blocks, grids[index], ends_in_tokens=index == len(architecture.stages) - 1)
        network.set_submodule(f"stages.{index}", mixed)
    return network


def count_macs(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions and matrix products in one call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(input_shape))
    return counter.get_total_flops() // 2


def _with_norm(layer: nn.Conv2d, norm: str | None) -> nn.Module:
    return layer if norm is None else nn.Sequential(layer, NORMS[norm](layer.out_channels))


def _with_token_activation(block: DeployMB3D, activation: str) -> DeployMB3D:
    block.set_submodule("mlp", nn.Sequential(block.mlp.fc1, ACTIVATIONS[activation](), block.mlp.fc2))
    return block


def _replaced(network: nn.Module, kind: type[nn.Module], change: Callable[..., nn.Module]) -> nn.Module:
    """Replace every block of a kind, in place."""
    names = [name for name, module in network.named_modules() if isinstance(module, kind)]
    for name in names:
        network.set_submodule(name, change(network.get_submodule(name)))
    return network
