"""Heads of dense tasks, which read the maps of several stages, as values: frozen, validated, the same after a trip
through JSON.

A network whose architecture has such a head is a task model: costs, latency table, slimming, training and export treat
head and stages alike.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, NotRequired, get_args

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.arch.kinds import kind_to_json, require_option, value_of_kind
from efficientformer.errors import ArchitectureError
from efficientformer.reading import checked

MAX_HEAD_WIDTH, MAX_TOWER = 1024, 8
WIDTH_STEP = 8
MAX_PROPOSALS = 2000
NUM_ANCHORS, NUM_SIDES, MOST_OBJECTS = 3, 4, 100
"""Of Mask R-CNN: boxes of a cell that proposals start from, sides of a box, and objects of an image that have masks."""
BOX_SIDE, MASK_SIDE, MASK_DEPTH = 7, 28, 4
"""Cells of the pyramid that a box is pooled to, cells of a mask, which is pooled to half of them, and convolutions in
between."""
SearchedKind = Literal["semantic_fpn", "one_stage"]
DenseKind = Literal["semantic_fpn", "one_stage", "mask_rcnn"]


class _Head:
    """Options of a head: widths are multiples of 8, others are counts. Raises ArchitectureError otherwise."""

    first_stage: ClassVar[int]
    """The first stage whose map the head reads, from 0."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            name, value = f"{type(self).__name__}.{field.name}", getattr(self, field.name)
            most = {"depth": MAX_TOWER, "proposals": MAX_PROPOSALS}.get(field.name)
            require_option(name, value, most or MAX_HEAD_WIDTH)
            if most is None and value % WIDTH_STEP:
                raise ArchitectureError(f"{name} must be a multiple of {WIDTH_STEP}, not {value}.")


@dataclass(frozen=True)
class SemanticFpn(_Head):
    """A class for every pixel: a feature pyramid of the four stages, whose levels are brought to the finest and added
    (Panoptic FPN; the paper's Semantic FPN, section 5.3).

    fpn_width: channels of every level. width: channels of the convolutions behind them.
    """

    kind: ClassVar[Literal["semantic_fpn"]] = "semantic_fpn"
    first_stage: ClassVar[int] = 0
    fpn_width: int = 256
    width: int = 128

    def __str__(self) -> str:
        return f"Semantic FPN {self.fpn_width}-{self.width}"


@dataclass(frozen=True)
class OneStage(_Head):
    """Boxes in one stage, without anchors (after FCOS): a pyramid of stages 2 to 4 and one level more of half the size,
    and two branches that all levels share.

    fpn_width: channels of every level. width, depth: channels and number of the convolutions of a branch.
    candidates, detections: of an image, the best cells and classes whose boxes are compared, and the most boxes that
    are kept. Every candidate is compared with every box: with the usual 1000, that was a quarter of a small network's
    latency, and the average precision was the same (benchmarks/LOG.md).
    """

    kind: ClassVar[Literal["one_stage"]] = "one_stage"
    first_stage: ClassVar[int] = 1
    candidates: ClassVar[int] = 300
    detections: ClassVar[int] = 100
    fpn_width: int = 96
    width: int = 96
    depth: int = 2

    def __str__(self) -> str:
        return f"one-stage head {self.fpn_width}-{self.width}, {self.depth} deep"


@dataclass(frozen=True)
class MaskRcnn(_Head):
    """Boxes and masks of objects in two stages: Mask R-CNN (He et al., 2017) on a feature pyramid of the four stages,
    as in the paper's section 5.2. It is trained and evaluated, and is in no search: its latency depends on the image.

    fpn_width: channels of every level, and of the network that proposes boxes. width: channels of the convolutions of
    the masks. box_width: neurons of the two layers of the boxes. proposals: boxes of an image that the second stage
    looks at.
    """

    kind: ClassVar[Literal["mask_rcnn"]] = "mask_rcnn"
    first_stage: ClassVar[int] = 0
    fpn_width: int = 256
    width: int = 256
    box_width: int = 1024
    proposals: int = 1000

    def __str__(self) -> str:
        return f"Mask R-CNN {self.fpn_width}-{self.width}-{self.box_width}, {self.proposals} proposals"


@dataclass(frozen=True)
class Level:
    """What the cost of a part of a dense head depends on besides widths, grid and classes.

    number: its level of the pyramid, from 0 for the finest. out_grid: the size of another map; of an fpn_level that of
    the coarser level that it adds, if it is not the coarsest; of a semantic_level that of the finest level; of
    semantic_classes and of detections that of the image. depth: convolutions of a branch of a box_level. is_normed:
    whether an fpn_level normalizes the map of its stage.
    """

    number: int = 0
    out_grid: tuple[int, int] | None = None
    depth: int = 0
    is_normed: bool = False

    def __str__(self) -> str:
        words = [f"level={self.number}"]
        words += [] if self.out_grid is None else [f"out={self.out_grid[0]}x{self.out_grid[1]}"]
        words += [f"depth={self.depth}"] if self.depth else []
        return ",".join([*words, "normed"] if self.is_normed else words)

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {"number": self.number}
        content |= {} if self.out_grid is None else {"out_grid": list(self.out_grid)}
        content |= {"depth": self.depth} if self.depth else {}
        return content | ({"is_normed": True} if self.is_normed else {})

    @classmethod
    def from_json(cls, content: Any) -> "Level":
        """Inverse of `to_json`. Raises ArchitectureError."""
        try:
            record = checked(content, LevelRecord)
        except ValueError as error:
            raise ArchitectureError(f"Not a level of a dense head: {error}.") from error
        grid = record.get("out_grid")
        out_grid = None if grid is None else (grid[0], grid[1])
        return cls(record["number"], out_grid, record.get("depth", 0), record.get("is_normed", False))


class LevelRecord(TypedDict):
    number: Annotated[int, Field(ge=0, le=8)]
    out_grid: NotRequired[
        Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(min_length=2, max_length=2)] | None
    ]
    depth: NotRequired[Annotated[int, Field(ge=1, le=MAX_TOWER)]]
    is_normed: NotRequired[bool]


SearchedHead = SemanticFpn | OneStage
"""Heads that a search can have."""
DenseHead = SearchedHead | MaskRcnn
SEARCHED_HEADS: dict[SearchedKind, type[SearchedHead]] = {head.kind: head for head in get_args(SearchedHead)}
HEADS: dict[DenseKind, type[DenseHead]] = {head.kind: head for head in get_args(DenseHead)}


def dense_to_json(head: DenseHead) -> dict[str, Any]:
    return kind_to_json(head)


def dense_from_json(content: Any) -> DenseHead:
    """Inverse of `dense_to_json`. Raises ArchitectureError."""
    return value_of_kind(content, HEADS, "head")
