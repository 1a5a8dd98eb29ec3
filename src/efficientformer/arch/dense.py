"""Heads of dense tasks, which read the maps of several stages, as values: frozen, validated, the same after a trip
through JSON.

A network whose architecture has such a head is a task model: costs, latency table, slimming, training and export treat
head and stages alike.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from efficientformer.arch.kinds import kind_to_json, require_option, value_of_kind
from efficientformer.errors import ArchitectureError

MAX_HEAD_WIDTH, MAX_TOWER = 1024, 8
WIDTH_STEP = 8
DenseKind = Literal["semantic_fpn", "one_stage"]


class _Head:
    """Options of a head: widths are multiples of 8, depths count convolutions. Raises ArchitectureError otherwise."""

    first_stage: ClassVar[int]
    """The first stage whose map the head reads, from 0."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            name, value = f"{type(self).__name__}.{field.name}", getattr(self, field.name)
            require_option(name, value, MAX_TOWER if field.name == "depth" else MAX_HEAD_WIDTH)
            if field.name != "depth" and value % WIDTH_STEP:
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
    """

    kind: ClassVar[Literal["one_stage"]] = "one_stage"
    first_stage: ClassVar[int] = 1
    fpn_width: int = 96
    width: int = 96
    depth: int = 2

    def __str__(self) -> str:
        return f"one-stage head {self.fpn_width}-{self.width}, {self.depth} deep"


DenseHead = SemanticFpn | OneStage
HEADS: dict[DenseKind, type[DenseHead]] = {head.kind: head for head in get_args(DenseHead)}


def dense_to_json(head: DenseHead) -> dict[str, Any]:
    return kind_to_json(head)


def dense_from_json(content: Any) -> DenseHead:
    """Inverse of `dense_to_json`. Raises ArchitectureError."""
    return value_of_kind(content, HEADS, "head")
