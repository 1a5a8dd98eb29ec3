"""A network as the list of parts it runs through, in order.

One walk serves analytic costs and the latency table alike, so both speak of the same network. A part carries all that
its cost depends on: kind, grid, widths and options.
"""

from dataclasses import dataclass, fields

from efficientformer.arch.spec import MB3D, MB4D, Architecture, Block, Stage

Grid = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """One part of a network.

    kind: stem, MB4D, MB3D, flatten, unflatten, downsample or head; in EfficientFormerV2 also FFN, AttnFFN,
    attention_downsample and map_head. `grid` is the (height, width) of the map that comes in; tokens have the grid of
    the map they came from. `in_width` and `width` count channels going in and coming out.
    """

    kind: str
    grid: Grid
    in_width: int
    width: int
    block: Block | None = None
    strides: tuple[int, int] | None = None
    num_classes: int | None = None
    activation: str = "relu"

    @property
    def family(self) -> str:
        """Everything but the widths: parts of one family can be interpolated."""
        options = ""
        if self.block is not None:
            options = "," + ",".join(f"{f.name}={getattr(self.block, f.name)}" for f in fields(self.block))
        elif self.strides is not None:
            options = ",strides={}x{}".format(*self.strides)
            options += "" if self.activation == "relu" else f",activation={self.activation}"
        elif self.num_classes is not None:
            options = f",num_classes={self.num_classes}"
        return f"{self.kind}@{self.grid[0]}x{self.grid[1]}{options}"

    @property
    def key(self) -> str:
        """The part's name in a latency table."""
        return f"{self.family}:{self.in_width}>{self.width}"


def strided(grid: Grid, stride: int = 2) -> Grid:
    """The grid after a 3x3 convolution with padding 1."""
    return ((grid[0] - 1) // stride + 1, (grid[1] - 1) // stride + 1)


def stage_grids(stem_strides: tuple[int, int], resolution: int | Grid) -> list[Grid]:
    """Map size (height, width) of each of the four stages."""
    grid = (resolution, resolution) if isinstance(resolution, int) else resolution
    for stride in stem_strides:
        grid = strided(grid, stride)
    grids = [grid]
    while len(grids) < 4:
        grids.append(strided(grids[-1]))
    return grids


def stem_part(stem_strides: tuple[int, int], resolution: int | Grid, width: int, *, activation: str = "relu") -> Part:
    grid = (resolution, resolution) if isinstance(resolution, int) else resolution
    return Part("stem", grid, 3, width, strides=stem_strides, activation=activation)


def block_part(block: Block, grid: Grid, width: int) -> Part:
    return Part(block.kind, grid, width, width, block=block)


def downsample_part(grid: Grid, in_width: int, width: int, *, attends: bool = False) -> Part:
    return Part("attention_downsample" if attends else "downsample", grid, in_width, width)


def head_part(grid: Grid, width: int, num_classes: int, *, on_maps: bool = False) -> Part:
    return Part("map_head" if on_maps else "head", grid, width, width, num_classes=num_classes)


def network_parts(architecture: Architecture, resolution: int | Grid, num_classes: int) -> list[Part]:
    """Every part of the network in the order in which an image passes through it."""
    grids = stage_grids(architecture.stem_strides, resolution)
    is_v2, strides, last = architecture.is_v2, architecture.stem_strides, len(grids) - 1
    activation = "gelu" if is_v2 else "relu"
    parts = [stem_part(strides, resolution, architecture.stages[0].width, activation=activation)]
    for index, (stage, grid) in enumerate(zip(architecture.stages, grids, strict=True)):
        if index:
            in_width = architecture.stages[index - 1].width
            parts.append(downsample_part(grids[index - 1], in_width, stage.width, attends=is_v2 and index == last))
        parts += stage_parts(stage, grid, is_last=index == last)
    parts.append(head_part(grids[-1], architecture.stages[-1].width, num_classes, on_maps=is_v2))
    return parts


def stage_parts(stage: Stage, grid: Grid, *, is_last: bool) -> list[Part]:
    """The stage's blocks and its changes of layout. Stages pass maps on; the last passes tokens to the head, but in V2
    a map."""
    if stage.is_v2:
        return [block_part(block, grid, stage.width) for block in stage.blocks]
    parts, previous = [], MB4D.kind
    for block in stage.blocks:
        if block.kind == MB3D.kind and previous == MB4D.kind:
            parts.append(Part("flatten", grid, stage.width, stage.width))
        parts.append(block_part(block, grid, stage.width))
        previous = block.kind
    if previous == MB3D.kind and not is_last:
        parts.append(Part("unflatten", grid, stage.width, stage.width))
    if previous == MB4D.kind and is_last:
        parts.append(Part("flatten", grid, stage.width, stage.width))
    return parts
