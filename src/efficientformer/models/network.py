"""The network of an architecture: stem, four stages, and a linear head on the mean token (paper, figure 3)."""

import copy
import itertools

from torch import Tensor, nn

from efficientformer.arch import spec
from efficientformer.arch.parts import Grid, stage_grids, strided
from efficientformer.arch.spec import MB4D, Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, UsageError
from efficientformer.models.embed import Downsample, Stem
from efficientformer.models.init import init_projection
from efficientformer.models.layout import flatten, grid_of, unflatten
from efficientformer.models.metablocks import MB3DBlock, MB4DBlock
from efficientformer.models.token_mixers import Attention


class Stage(nn.Module):
    """The blocks of one resolution: every MB4D on maps, then every MB3D on tokens.

    Maps (B, C, H, W) come in and go out, except that the last stage gives the head its tokens (B, N, C).
    """

    def __init__(
        self,
        stage: spec.Stage,
        in_width: int | None,
        grid: Grid,
        *,
        is_last: bool,
        drop_paths: list[float],
        layer_scale_init: float,
    ) -> None:
        super().__init__()
        self.is_last = is_last
        self.downsample = nn.Identity() if in_width is None else Downsample(in_width, stage.width)
        self.blocks = nn.ModuleList(
            build_block(stage.width, block, grid, drop_path=drop_path, layer_scale_init=layer_scale_init)
            for block, drop_path in zip(stage.blocks, drop_paths, strict=True)
        )
        self.num_mb4d = stage.depth - stage.num_mb3d

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.downsample(x_BCHW)
        for block in self.blocks[: self.num_mb4d]:
            x_BCHW = block(x_BCHW)
        if self.num_mb4d == len(self.blocks) and not self.is_last:
            return x_BCHW
        grid = grid_of(x_BCHW)
        x_BNC = flatten(x_BCHW)
        for block in self.blocks[self.num_mb4d :]:
            x_BNC = block(x_BNC, grid)
        return x_BNC if self.is_last else unflatten(x_BNC, grid)


class Network(nn.Module):
    """A classifier of images (B, 3, H, W) of any size into (B, K) logits.

    `resolution` is the size that the attention bias tables are made for. With a distillation head the training forward
    returns the pair (class logits, distillation logits), and evaluation their mean.
    """

    head_dist: nn.Linear | None

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int = 1000,
        resolution: int | Grid = 224,
        has_distillation_head: bool = False,
        drop_path_rate: float = 0.0,
        layer_scale_init: float = 1e-5,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.num_classes = num_classes
        self.resolution = resolution
        self.stem = Stem(architecture.widths[0], architecture.stem_strides)
        self.stages = nn.ModuleList()
        drop_paths = drop_path_ramp(architecture, drop_path_rate)
        for index, grid in enumerate(stage_grids(architecture.stem_strides, resolution)):
            self.stages.append(
                Stage(
                    architecture.stages[index],
                    architecture.widths[index - 1] if index else None,
                    grid,
                    is_last=index == spec.NUM_STAGES - 1,
                    drop_paths=drop_paths[index],
                    layer_scale_init=layer_scale_init,
                )
            )
        width = architecture.widths[-1]
        self.norm = nn.LayerNorm(width)
        self.head = init_projection(nn.Linear(width, num_classes))
        self.head_dist = init_projection(nn.Linear(width, num_classes)) if has_distillation_head else None

    def forward(self, x_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.stem(x_BCHW)
        for stage in self.stages:
            x = stage(x)
        mean_BC = self.norm(x).mean(dim=1)
        logits_BK = self.head(mean_BC)
        if self.head_dist is None:
            return logits_BK
        distillation_BK = self.head_dist(mean_BC)
        return (logits_BK, distillation_BK) if self.training else (logits_BK + distillation_BK) / 2

    def forward_features(self, x_BCHW: Tensor) -> list[Tensor]:
        """The maps (B, C, H, W) that leave the four stages, before the final norm."""
        maps = [self.stem(x_BCHW)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        x_BNC = maps.pop()
        return [*maps[1:], unflatten(x_BNC, strided(grid_of(maps[-1])))]


def create_model(
    architecture: Architecture | str,
    *,
    num_classes: int = 1000,
    resolution: int | Grid = 224,
    has_distillation_head: bool = False,
    drop_path_rate: float = 0.0,
    layer_scale_init: float = 1e-5,
) -> Network:
    """A freshly initialized network of an architecture, or of a name of `arch.zoo.ZOO`.

    Raises ArchitectureError on an unknown name and UsageError on sizes that no network can have.
    """
    if isinstance(architecture, str):
        if architecture not in ZOO:
            raise ArchitectureError(f"No network is called {architecture!r}; the names are {', '.join(ZOO)}.")
        architecture = ZOO[architecture]
    if num_classes < 1:
        raise UsageError(f"A classifier needs at least one class, not {num_classes}.")
    _require_positive(resolution)
    if not 0 <= drop_path_rate < 1:
        raise UsageError(f"drop_path_rate is a probability below 1, not {drop_path_rate}.")
    return Network(
        architecture,
        num_classes=num_classes,
        resolution=resolution,
        has_distillation_head=has_distillation_head,
        drop_path_rate=drop_path_rate,
        layer_scale_init=layer_scale_init,
    )


def at_resolution(network: Network, resolution: int | Grid) -> Network:
    """A copy of a network made for images of another size: its attention bias tables are resized.

    Raises UsageError when the resolution is not positive.
    """
    _require_positive(resolution)
    network = copy.deepcopy(network)
    network.resolution = resolution
    for stage, grid in zip(network.stages, stage_grids(network.architecture.stem_strides, resolution), strict=True):
        for module in stage.modules():
            if isinstance(module, Attention):
                module.resize(grid)
    return network


def build_block(
    width: int, block: spec.Block, grid: Grid, *, drop_path: float = 0.0, layer_scale_init: float = 1e-5
) -> MB4DBlock | MB3DBlock:
    if isinstance(block, MB4D):
        return MB4DBlock(width, block, drop_path=drop_path, layer_scale_init=layer_scale_init)
    return MB3DBlock(width, block, grid, drop_path=drop_path, layer_scale_init=layer_scale_init)


def drop_path_ramp(architecture: Architecture, rate: float) -> list[list[float]]:
    """Drop path per stage and block, growing linearly from 0 at the first block to `rate` at the last."""
    last = max(1, sum(architecture.depths) - 1)
    ramp = iter(rate * index / last for index in range(last + 1))
    return [list(itertools.islice(ramp, depth)) for depth in architecture.depths]


def _require_positive(resolution: int | Grid) -> None:
    if min(resolution if isinstance(resolution, tuple) else (resolution,)) < 1:
        raise UsageError(f"The resolution must be positive, not {resolution}.")
