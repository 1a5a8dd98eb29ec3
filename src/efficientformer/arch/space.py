"""The search space: which architectures slimming may reach (paper, section 4.2; V2, section on joint search).

A space is a value. Of every stage it states the widths, the kinds of block, their expansions (MLP ratios) and numbers
of heads, and the blocks of the largest network; every other network of the space has some of these blocks, each of any
of the kinds, expansions and numbers of heads. The space answers how one of its networks gets smaller (`shrinks`).
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.arch.dense import DenseHead
from efficientformer.arch.head_space import HeadSpace, HeadSpaceRecord
from efficientformer.arch.moves import Contract, Drop, Move, Narrow, NarrowHead, PruneHeads, Swap
from efficientformer.arch.spec import (
    DEFAULT_ACTIVATION,
    FFN,
    MB3D,
    NUM_STAGES,
    STRIDE_COUNTS,
    Activation,
    Architecture,
    AttnFFN,
    Block,
    Stage,
    Strides,
    in_kind,
    num_heads_of,
    require_few_weights,
    takes_tokens,
)
from efficientformer.arch.stage_space import StageSpace, StageSpaceRecord
from efficientformer.arch.zoo import Four
from efficientformer.errors import ArchitectureError
from efficientformer.reading import checked


@dataclass(frozen=True)
class SearchSpace:
    """Four stages behind a stem with the given strides, the activation of all networks, and what the head of a dense
    task may be; None for classifiers. Named spaces are in `spaces`."""

    name: str
    stages: tuple[StageSpace, ...]
    stem_strides: Strides = (2, 2)
    activation: Activation = DEFAULT_ACTIVATION
    head: HeadSpace | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        if len(self.stages) != NUM_STAGES:
            raise ArchitectureError(f"A search space has {NUM_STAGES} stages, not {len(self.stages)}.")
        kinds = [[type(block) for block in stage.blocks] for stage in self.stages]
        for index, (here, first) in enumerate(zip(kinds, kinds[:1] * NUM_STAGES, strict=True)):
            if len({kind in (FFN, AttnFFN) for kind in [*here, *first]}) > 1:
                raise ArchitectureError(
                    f"stages.{index}.blocks must be MB4D and MB3D, or FFN and AttnFFN, but not both."
                )
            if MB3D in here and index < NUM_STAGES - 2:
                raise ArchitectureError(f"stages.{index}.blocks cannot have MB3D: tokens are for the last two stages.")
        self.largest()
        self.smallest()

    @property
    def min_widths(self) -> Four:
        return _four(stage.min_width for stage in self.stages)

    @property
    def max_widths(self) -> Four:
        return _four(stage.max_width for stage in self.stages)

    @property
    def max_depths(self) -> Four:
        return _four(stage.depth for stage in self.stages)

    def widths(self, stage_index: int) -> list[int]:
        """Every width of a stage, narrowest first."""
        return self.stages[stage_index].widths

    def largest(self) -> Architecture:
        return self.network(Stage(stage.max_width, stage.largest) for stage in self.stages)

    def network(self, stages: Iterable[Stage], head: DenseHead | None = None) -> Architecture:
        """The architecture of these stages, with the stem and the activation of the space. The head of a dense task is
        the largest unless another is given."""
        head = self.head.largest() if head is None and self.head is not None else head
        return Architecture(tuple(stages), self.stem_strides, self.activation, head)

    def smallest(self) -> Architecture:
        """One block of the cheapest kind, expansion and number of heads in each stage, at the narrowest widths, and
        the smallest head."""
        stages = (Stage(stage.min_width, stage.candidates[-1:]) for stage in self.stages)
        return self.network(stages, self.head and self.head.smallest())

    def build(self, widths: Four, depths: Four, num_attending: int) -> Architecture:
        """The architecture in which `num_attending` blocks attend, the last ones that can; the others are of the
        cheapest kind of their stage. All have the largest expansion and the most heads.

        Blocks of a stage whose only kind attends count among them, and attend however small the number is.
        """
        stages: list[Stage] = []
        for stage, width, depth in zip(reversed(self.stages), reversed(widths), reversed(depths), strict=True):
            count = min(num_attending, depth)
            stages.append(Stage(width, (stage.blocks[-1],) * (depth - count) + (stage.blocks[0],) * count))
            num_attending = max(0, num_attending - stages[-1].num_attending)
        return self.network(reversed(stages))

    def random(self, rng: random.Random) -> Architecture:
        """An architecture drawn uniformly over widths, depths, kinds, expansions and heads; of kinds on tokens and on
        maps, over the number of blocks on tokens, which are the last ones; and over the choices for a dense head."""
        widths = [rng.choice(stage.widths) for stage in self.stages]
        depths = [rng.randint(1, stage.depth) for stage in self.stages]
        num_on_tokens = 0
        if self.max_tokens:
            with_tokens = [(d, stage) for d, stage in zip(depths, self.stages, strict=True) if stage.has_tokens]
            must_be = sum(depth for depth, stage in with_tokens if len(stage.blocks) == 1)
            can_be = sum(depth for depth, _ in with_tokens)
            num_on_tokens = rng.randint(must_be, min(self.max_tokens, can_be))
        blocks = [stage.random_blocks(depth, rng) for stage, depth in zip(self.stages, depths, strict=True)]
        drawn = self.arranged(list(zip(widths, blocks, strict=True)), num_on_tokens)
        stages = [
            Stage(stage.width, allowed.random_heads(stage.blocks, rng))
            for stage, allowed in zip(drawn.stages, self.stages, strict=True)
        ]
        return self.network(stages, self.head and self.head.random(rng))

    def arranged(
        self, stages: Sequence[tuple[int, Sequence[Block]]], num_on_tokens: int, head: DenseHead | None = None
    ) -> Architecture:
        """The network of stages of these widths and blocks, and of the head as `network` has it.

        Where the space has blocks on tokens, the last `num_on_tokens` blocks, if there are that many, become such
        blocks, and all others blocks on maps. Those that attended before keep their number of heads.
        """
        if self.max_tokens:
            widths, depths = (_four(values) for values in zip(*((w, len(blocks)) for w, blocks in stages), strict=True))
            like = self.build(widths, depths, min(max(0, num_on_tokens), self.max_tokens))
            stages = [
                (width, [in_kind(block, kind) for kind, block in zip(kinds.blocks, blocks, strict=True)])
                for (width, blocks), kinds in zip(stages, like.stages, strict=True)
            ]
        return self.network((Stage(width, tuple(blocks)) for width, blocks in stages), head)

    @cached_property
    def is_v2(self) -> bool:
        """Whether its networks are of EfficientFormerV2's blocks."""
        return self.largest().is_v2

    @property
    def has_expansions(self) -> bool:
        """Whether some block has a choice of expansions."""
        return any(len(stage.expansions) > 1 for stage in self.stages)

    @property
    def has_heads(self) -> bool:
        """Whether some block has a choice of numbers of heads."""
        return any(stage.heads for stage in self.stages)

    @cached_property
    def max_tokens(self) -> int:
        """Blocks on tokens in the largest network."""
        return sum(takes_tokens(block) for stage in self.stages for block in stage.largest)

    def holds(self, architecture: Architecture) -> bool:
        """Whether the architecture is a network of this space."""
        return (
            (architecture.stem_strides, architecture.activation) == (self.stem_strides, self.activation)
            and architecture.num_on_tokens <= self.max_tokens
            and (architecture.head is None if self.head is None else self.head.holds(architecture.head))
            and all(allowed.holds(stage) for stage, allowed in zip(architecture.stages, self.stages, strict=True))
        )

    def shrinks(self, architecture: Architecture) -> Iterator[Move]:
        """Every move that makes a network of the space smaller by one step and leads to another: a block dropped,
        swapped for the next cheaper kind, contracted to the next expansion or left with fewer heads, a stage
        narrowed, or an option of a dense head made smaller."""
        for index, (stage, allowed) in enumerate(zip(architecture.stages, self.stages, strict=True)):
            if stage.depth > 1:
                yield from (Drop(index, place) for place in range(stage.depth))
            for place, block in enumerate(stage.blocks):
                if (cheaper := allowed.swapped(block)) and _is_valid(swap := Swap(index, place, cheaper), architecture):
                    yield swap
            for place, block in enumerate(stage.blocks):
                if smaller := allowed.contracted(block):
                    yield Contract(index, place, smaller.mlp_ratio)
            for place, block in enumerate(stage.blocks):
                if fewer := allowed.pruned(block):
                    yield PruneHeads(index, place, num_heads_of(fewer))
            if stage.width > allowed.min_width:
                yield Narrow(index, allowed.width_step)
        if self.head is not None and architecture.head is not None:
            yield from (NarrowHead(option, to) for option, to in self.head.shrinks(architecture.head))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value, as in a space's file; what is at its default is left out."""
        stages = [stage.to_json() for stage in self.stages]
        content: dict[str, Any] = {"name": self.name, "stem_strides": list(self.stem_strides), "stages": stages}
        content |= {} if self.activation == DEFAULT_ACTIVATION else {"activation": self.activation}
        return content if self.head is None else content | {"head": self.head.to_json()}

    @classmethod
    def from_json(cls, content: Any) -> "SearchSpace":
        """Inverse of `to_json`. Raises ArchitectureError that names the field for anything else."""
        try:
            record = checked(content, SpaceRecord)
        except ValueError as error:
            raise ArchitectureError(f"Not a search space: {error}.") from error
        stages = []
        for index, stage in enumerate(record["stages"]):
            try:
                stages.append(StageSpace.from_json(stage))
            except ArchitectureError as error:
                raise ArchitectureError(f"Not a search space: stages.{index}.{error}") from error
        strides = record.get("stem_strides", [2, 2])
        activation = record.get("activation", DEFAULT_ACTIVATION)
        head = None
        if (described := record.get("head")) is not None:
            try:
                head = HeadSpace.from_json(described)
            except ArchitectureError as error:
                raise ArchitectureError(f"Not a search space: head.{error}") from error
        try:
            space = cls(record["name"], tuple(stages), tuple(strides), activation, head)
            require_few_weights(stage.costliest for stage in stages)
        except ArchitectureError as error:
            raise ArchitectureError(f"Not a search space: {error}") from error
        return space


class SpaceRecord(TypedDict):
    """A search space in a record or a file."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    stem_strides: NotRequired[
        Annotated[
            list[Annotated[int, Field(ge=1, le=2)]], Field(min_length=STRIDE_COUNTS[0], max_length=STRIDE_COUNTS[1])
        ]
    ]
    stages: Annotated[list[StageSpaceRecord], Field(min_length=NUM_STAGES, max_length=NUM_STAGES)]
    activation: NotRequired[Activation]
    head: NotRequired[HeadSpaceRecord | None]


def _four(values: Iterable[int]) -> Four:
    first, second, third, fourth = values
    return first, second, third, fourth


def _is_valid(move: Move, architecture: Architecture) -> bool:
    try:
        move.apply(architecture)
    except ArchitectureError:
        return False
    return True
