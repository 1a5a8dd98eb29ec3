"""A network as the list of parts it runs through, in order.

Costs and the latency table iterate over the same list of parts, so they always describe the same network. A part
carries all that its cost depends on: kind, grid, widths and options.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, assert_never, get_args

from efficientformer.arch.dense import DenseHead, Level, MaskRcnn, OneStage, SemanticFpn
from efficientformer.arch.kinds import value_of_kind
from efficientformer.arch.resolution import Grid, grid_of_input
from efficientformer.arch.spec import (
    DEFAULT_ACTIVATION,
    FFN,
    MB3D,
    MB4D,
    MHSA,
    NUM_STAGES,
    STRIDE_COUNTS,
    Activation,
    Architecture,
    AttnFFN,
    Block,
    Stage,
    Strides,
    block_to_json,
    num_heads_of,
    takes_tokens,
    with_heads,
)
from efficientformer.errors import ArchitectureError

PartBlock = MB4D | MB3D | FFN | MHSA
"""What a part holds of a block: all of it, or of an AttnFFN its attention or its FFN."""
PartBlockKind = Literal["MB4D", "MB3D", "FFN", "MHSA"]
PART_BLOCKS: dict[str, type[PartBlock]] = {block.kind: block for block in get_args(PartBlock)}
HeadKind = Literal["head", "map_head"]
DensePartKind = Literal["fpn_level", "fpn_further", "semantic_level", "semantic_classes", "box_level", "detections"]
MAX_SIZE = 100_000
PartKind = Literal[
    PartBlockKind, HeadKind, DensePartKind, "stem", "flatten", "unflatten", "downsample", "attention_downsample"
]
_WITH_CLASSES = (*get_args(HeadKind), "semantic_classes", "box_level", "detections")


@dataclass(frozen=True)
class Part:
    """One part of a network.

    kind: stem, MB4D, MB3D, flatten, unflatten, downsample or head; in EfficientFormerV2 also FFN, MHSA,
    attention_downsample and map_head; in a dense head fpn_level, fpn_further, semantic_level, semantic_classes,
    box_level and detections, which have a `level`. An AttnFFN is two parts, MHSA and FFN, as in V2's lookup table.
    `grid` is the (height, width) of the map that comes in; tokens have the grid of the map they came from, and outputs
    of a detector that of the finest level. `in_width` and `width` count channels going in and coming out; of detections
    they count the boxes that are compared and those that are kept. Blocks have a `block`, a stem has `strides`, heads
    have `num_classes`.
    """

    kind: PartKind
    grid: Grid
    in_width: int
    width: int
    block: PartBlock | None = None
    strides: Strides | None = None
    num_classes: int | None = None
    activation: Activation = DEFAULT_ACTIVATION
    level: Level | None = None

    @property
    def expansion(self) -> int:
        """The MLP ratio; 0 for a part without an MLP."""
        return 0 if self.block is None or isinstance(self.block, MHSA) else self.block.mlp_ratio

    def with_expansion(self, expansion: int) -> "Part":
        """The part with this MLP ratio; the part itself if it has no MLP."""
        if self.block is None or isinstance(self.block, MHSA):
            return self
        return replace(self, block=replace(self.block, mlp_ratio=expansion))

    @property
    def num_heads(self) -> int:
        """Heads of a block's attention; 0 for any other part."""
        return 0 if self.block is None else num_heads_of(self.block)

    def with_heads(self, num_heads: int) -> "Part":
        """The part with this number of heads; the part itself if it is no block with attention."""
        return self if self.block is None else replace(self, block=with_heads(self.block, num_heads))

    @property
    def family(self) -> str:
        """Everything but the widths."""
        options = ""
        if self.block is not None:
            options = "," + ",".join(f"{f.name}={getattr(self.block, f.name)}" for f in fields(self.block))
        elif self.strides is not None:
            options = f",strides={'x'.join(map(str, self.strides))}"
        elif self.num_classes is not None:
            options = f",num_classes={self.num_classes}"
        options += "" if self.level is None else f",{self.level}"
        usual = "relu" if self.kind == "stem" else DEFAULT_ACTIVATION
        options += "" if self.activation == usual else f",activation={self.activation}"
        return f"{self.kind}@{self.grid[0]}x{self.grid[1]}{options}"

    @property
    def group(self) -> str:
        """Everything but the widths, the expansion and the number of heads: parts of one group can be interpolated."""
        return self.with_expansion(1).with_heads(1).family

    @property
    def key(self) -> str:
        """The part in one line: equal for equal parts."""
        return f"{self.family}:{self.in_width}>{self.width}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; what the part does not have is left out."""
        content: dict[str, Any] = {"kind": self.kind, "grid": list(self.grid)}
        content |= {"in_width": self.in_width, "width": self.width}
        if self.block is not None:
            content["block"] = block_to_json(self.block)
        if self.strides is not None:
            content["strides"] = list(self.strides)
        if self.strides is not None or self.activation != DEFAULT_ACTIVATION:
            content["activation"] = self.activation
        if self.num_classes is not None:
            content["num_classes"] = self.num_classes
        return content if self.level is None else content | {"level": self.level.to_json()}

    @classmethod
    def from_json(cls, content: Any) -> "Part":
        """Inverse of `to_json`. Raises ArchitectureError that names what does not belong."""
        try:
            options = dict(content)
            block, strides, level = (options.pop(name, None) for name in ("block", "strides", "level"))
            part = cls(
                grid=_two_sizes(options.pop("grid")),
                block=None if block is None else value_of_kind(block, PART_BLOCKS),
                strides=None if strides is None else tuple(strides),
                level=None if level is None else Level.from_json(level),
                **options,
            )
        except ArchitectureError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ArchitectureError(f"Not a part of a network: {error!r} in {str(content)[:200]}.") from error
        part._check()
        return part

    def _check(self) -> None:
        """Raise ArchitectureError unless the kind is known and the part has what its kind needs, and no more."""
        if self.kind not in get_args(PartKind):
            raise ArchitectureError(
                f"Unknown kind of part {str(self.kind)[:60]!r}; the kinds are {', '.join(get_args(PartKind))}."
            )
        if self.activation not in get_args(Activation):
            raise ArchitectureError(
                f"Unknown activation {str(self.activation)[:60]!r}; there are {', '.join(get_args(Activation))}."
            )
        sizes = [*self.grid, self.in_width, self.width, *(self.strides or ())]
        sizes += [] if self.num_classes is None else [self.num_classes]
        if not all(isinstance(size, int) and not isinstance(size, bool) and 0 < size <= MAX_SIZE for size in sizes):
            raise ArchitectureError(
                f"Grid, widths, strides and classes of a part are positive integers up to {MAX_SIZE}, "
                f"not {str(sizes)[:200]}."
            )
        if self.block is not None and self.in_width != self.width:
            raise ArchitectureError(f"A block has as many channels coming in as going out, not {self.key}.")
        if self.strides is not None and len(self.strides) not in STRIDE_COUNTS:
            raise ArchitectureError(f"A stem has two or three strides, not {str(self.strides)[:60]}.")
        needed = {
            "block": self.kind in get_args(PartBlockKind),
            "strides": self.kind == "stem",
            "num_classes": self.kind in _WITH_CLASSES,
            "level": self.kind in get_args(DensePartKind),
        }
        for name, is_needed in needed.items():
            if (getattr(self, name) is not None) != is_needed:
                raise ArchitectureError(f"A part of kind {self.kind} {'needs' if is_needed else 'has no'} {name}.")
        if self.block is not None and self.block.kind != self.kind:
            raise ArchitectureError(f"A part of kind {self.kind} cannot have a block of kind {self.block.kind}.")


def _two_sizes(values: Any) -> tuple[int, int]:
    first, second = values
    return first, second


def strided(grid: Grid, stride: int = 2) -> Grid:
    """The grid after a 3x3 convolution with padding 1."""
    return ((grid[0] - 1) // stride + 1, (grid[1] - 1) // stride + 1)


def stage_grids(stem_strides: Strides, resolution: int | Grid) -> list[Grid]:
    """Map size (height, width) of each of the four stages."""
    grid = grid_of_input(resolution)
    for stride in stem_strides:
        grid = strided(grid, stride)
    grids = [grid]
    while len(grids) < 4:
        grids.append(strided(grids[-1]))
    return grids


def stem_part(stem_strides: Strides, resolution: int | Grid, width: int, *, activation: Activation = "relu") -> Part:
    grid = grid_of_input(resolution)
    return Part("stem", grid, 3, width, strides=stem_strides, activation=activation)


def block_part(block: PartBlock, grid: Grid, width: int, *, activation: Activation = DEFAULT_ACTIVATION) -> Part:
    return Part(block.kind, grid, width, width, block=block, activation=activation)


def block_parts(block: Block, grid: Grid, width: int, *, activation: Activation = DEFAULT_ACTIVATION) -> list[Part]:
    """A block in its parts: itself, or the two halves of an AttnFFN. The last one has the MLP."""
    halves = [block.attention, block.ffn] if isinstance(block, AttnFFN) else [block]
    return [block_part(half, grid, width, activation=activation) for half in halves]


def downsample_part(
    grid: Grid, in_width: int, width: int, *, attends: bool = False, activation: Activation = DEFAULT_ACTIVATION
) -> Part:
    """Only the downsample that attends has an activation."""
    if attends:
        return Part("attention_downsample", grid, in_width, width, activation=activation)
    return Part("downsample", grid, in_width, width)


def head_part(grid: Grid, width: int, num_classes: int, *, on_maps: bool = False) -> Part:
    return Part("map_head" if on_maps else "head", grid, width, width, num_classes=num_classes)


def network_parts(architecture: Architecture, resolution: int | Grid, num_classes: int) -> list[Part]:
    """Every part of the network, and of what its exported file has behind it, in the order in which an image passes
    through them. Raises ArchitectureError for Mask R-CNN, whose second stage is no list of parts."""
    return [*body_parts(architecture, resolution), *head_parts(architecture, resolution, num_classes)]


def body_parts(architecture: Architecture, resolution: int | Grid) -> list[Part]:
    """The parts before the head."""
    grids = stage_grids(architecture.stem_strides, resolution)
    parts = []
    for index, (entry, stage) in enumerate(zip(entries(architecture, resolution), architecture.stages, strict=True)):
        gives_tokens = index == NUM_STAGES - 1 and architecture.ends_in_tokens
        parts += [
            entry,
            *stage_parts(stage, grids[index], gives_tokens=gives_tokens, activation=architecture.activation),
        ]
    return parts


def entries(architecture: Architecture, resolution: int | Grid) -> list[Part]:
    """The parts in front of the stages: the stem and the three downsamples."""
    grids, widths = stage_grids(architecture.stem_strides, resolution), architecture.widths
    is_v2, activation, last = architecture.is_v2, architecture.activation, len(grids) - 1
    stem = stem_part(architecture.stem_strides, resolution, widths[0], activation=architecture.head_activation)
    downsamples = [
        downsample_part(
            grids[index - 1], widths[index - 1], widths[index], attends=is_v2 and index == last, activation=activation
        )
        for index in range(1, len(grids))
    ]
    return [stem, *downsamples]


def head_parts(architecture: Architecture, resolution: int | Grid, num_classes: int) -> list[Part]:
    """The parts behind the stages: a classifier's head, or those of a dense head by level."""
    grids, widths, head = stage_grids(architecture.stem_strides, resolution), architecture.widths, architecture.head
    if head is None:
        return [head_part(grids[-1], widths[-1], num_classes, on_maps=architecture.is_v2)]
    pyramid, activation = pyramid_parts(architecture, head, grids), architecture.head_activation
    match head:
        case SemanticFpn():
            levels = [
                Part(
                    "semantic_level",
                    grid,
                    head.fpn_width,
                    head.width,
                    activation=activation,
                    level=Level(number, grids[0]),
                )
                for number, grid in enumerate(grids)
            ]
            image = grid_of_input(resolution)
            options = {"num_classes": num_classes, "level": Level(out_grid=image)}
            return [*pyramid, *levels, Part("semantic_classes", grids[0], head.width, head.width, **options)]
        case OneStage():
            further = Part("fpn_further", grids[-1], head.fpn_width, head.fpn_width, level=Level(len(pyramid)))
            levels = [
                Part(
                    "box_level",
                    grid,
                    head.fpn_width,
                    head.width,
                    num_classes=num_classes,
                    activation=activation,
                    level=Level(number, depth=head.depth),
                )
                for number, grid in enumerate([*grids[head.first_stage :], strided(grids[-1])])
            ]
            return [*pyramid, further, *levels, detections_part(grids[head.first_stage], resolution, num_classes)]
        case MaskRcnn():
            raise ArchitectureError(f"{head} cannot be measured part by part: its second stage depends on the image.")
        case _:
            assert_never(head)


def detections_part(finest: Grid, resolution: int | Grid, num_classes: int) -> Part:
    """The decoding of boxes of all levels, of which the finest has this grid."""
    level, widths = Level(out_grid=grid_of_input(resolution)), (OneStage.candidates, OneStage.detections)
    return Part("detections", finest, *widths, num_classes=num_classes, level=level)


def pyramid_parts(architecture: Architecture, head: DenseHead, grids: list[Grid]) -> list[Part]:
    """Of every level, finest first, the convolutions before and behind the sum with the coarser one."""
    coarser = [*grids[1:], None]
    return [
        Part(
            "fpn_level",
            grids[stage],
            architecture.widths[stage],
            head.fpn_width,
            level=Level(number, coarser[stage], is_normed=not architecture.is_v2),
        )
        for number, stage in enumerate(range(head.first_stage, NUM_STAGES))
    ]


def stage_parts(
    stage: Stage, grid: Grid, *, gives_tokens: bool, activation: Activation = DEFAULT_ACTIVATION
) -> list[Part]:
    """The stage's blocks and its changes of layout. Stages pass maps on; the last of the first family passes tokens to
    a classifier's head."""
    if stage.is_v2:
        blocks = (block_parts(block, grid, stage.width, activation=activation) for block in stage.blocks)
        return [part for parts in blocks for part in parts]
    parts, are_tokens = [], False
    for block in stage.blocks:
        if takes_tokens(block) and not are_tokens:
            parts.append(Part("flatten", grid, stage.width, stage.width))
        parts += block_parts(block, grid, stage.width, activation=activation)
        are_tokens = takes_tokens(block)
    if are_tokens and not gives_tokens:
        parts.append(Part("unflatten", grid, stage.width, stage.width))
    if not are_tokens and gives_tokens:
        parts.append(Part("flatten", grid, stage.width, stage.width))
    return parts
