"""What one stage of a search space may be: widths, kinds of block, expansions, heads and places."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.arch.spec import (
    MAX_DEPTH,
    MAX_OPTION,
    MAX_WIDTH,
    MB3D,
    AttnFFN,
    Block,
    Stage,
    block_from_json,
    block_to_json,
    in_kind,
    num_heads_of,
    takes_tokens,
    with_heads,
)
from efficientformer.errors import ArchitectureError


@dataclass(frozen=True)
class StageSpace:
    """What one stage may be.

    min_width, max_width, width_step: the widths.
    blocks: a block of each kind that a place may hold, the costliest kind first; their expansion is the largest.
    largest: the blocks of the largest network, one per place.
    expansions: the MLP ratios that a block may have, largest first.
    heads: the numbers of heads that a block with attention may have, largest first; empty: only its own.
    """

    min_width: int
    max_width: int
    blocks: tuple[Block, ...]
    largest: tuple[Block, ...]
    width_step: int = 16
    expansions: tuple[int, ...] = (4,)
    heads: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        low, high, step = self.min_width, self.max_width, self.width_step
        if low < 8 or high > MAX_WIDTH or low % 8:
            raise ArchitectureError(f"widths must be multiples of 8 from 8 to {MAX_WIDTH}, not {low} to {high}.")
        if step < 8 or step % 8:
            raise ArchitectureError(f"width_step must be a positive multiple of 8, not {step}.")
        if low > high or (high - low) % step:
            raise ArchitectureError(f"widths cannot go from {high} down to {low} in steps of {step}.")
        if not 1 <= len(self.largest) <= MAX_DEPTH:
            raise ArchitectureError(f"largest must have 1 to {MAX_DEPTH} blocks, not {len(self.largest)}.")
        if not self.expansions or list(self.expansions) != sorted(set(self.expansions), reverse=True):
            raise ArchitectureError(f"expansions must be in descending order, not {list(self.expansions)}.")
        if list(self.heads) != sorted(set(self.heads), reverse=True):
            raise ArchitectureError(f"heads must be in descending order, not {list(self.heads)}.")
        kinds = [block.kind for block in self.blocks]
        if not kinds or len(set(kinds)) < len(kinds):
            raise ArchitectureError(f"blocks must be one or more kinds, each once, not {kinds}.")
        attending = [isinstance(block, MB3D | AttnFFN) for block in self.blocks]
        if attending != sorted(attending, reverse=True):
            raise ArchitectureError(f"blocks must have the costliest kind, the one with attention, first, not {kinds}.")
        if self.heads and not any(attending):
            raise ArchitectureError(f"heads are of blocks with attention, and blocks has none, only {kinds}.")
        blocks = [replace(block, mlp_ratio=self.expansions[0]) for block in self.blocks]
        if self.heads:
            blocks = [with_heads(block, self.heads[0]) for block in blocks]
        object.__setattr__(self, "blocks", tuple(blocks))
        object.__setattr__(self, "heads", self.heads if len(self.heads) > 1 else ())  # one is that of the block
        for block in self.largest:
            if block not in self.candidates:
                allowing = "blocks, expansions and heads do" if self.heads else "blocks and expansions do"
                raise ArchitectureError(f"largest has a block that {allowing} not allow: {block}.")

    @property
    def depth(self) -> int:
        return len(self.largest)

    @property
    def widths(self) -> list[int]:
        """Every width, narrowest first."""
        return list(range(self.min_width, self.max_width + 1, self.width_step))

    @cached_property
    def candidates(self) -> tuple[Block, ...]:
        """Every block that a place may hold, by kind, in each kind by expansion and then by heads, largest first."""
        return tuple(
            with_heads(replace(block, mlp_ratio=ratio), num_heads)
            for block in self.blocks
            for ratio in self.expansions
            for num_heads in self.heads_of(block)
        )

    def heads_of(self, block: Block) -> tuple[int, ...]:
        """The numbers of heads that a block of this kind may have, largest first; only 0 without attention."""
        return self.heads if self.heads and num_heads_of(block) else (num_heads_of(block),)

    @property
    def costliest(self) -> Stage:
        """The widest stage with the costliest block at every place. That of the largest network may have cheaper ones,
        in places where other networks do not."""
        return Stage(self.max_width, self.candidates[:1] * self.depth)

    def holds(self, stage: Stage) -> bool:
        """Whether the stage is one of these."""
        return (
            stage.width in self.widths and stage.depth <= self.depth and all(b in self.candidates for b in stage.blocks)
        )

    @property
    def has_tokens(self) -> bool:
        return takes_tokens(self.blocks[0])

    def random_blocks(self, count: int, rng: random.Random) -> list[Block]:
        """Blocks of random kind and expansion; on maps where the stage has both, since blocks on tokens are arranged
        (`SearchSpace.arranged`). No random number is spent where there is no choice."""
        kinds = [block for block in self.blocks if not takes_tokens(block)] or list(self.blocks)
        drawn = [rng.choice(kinds) if len(kinds) > 1 else kinds[0] for _ in range(count)]
        if len(self.expansions) == 1:
            return drawn
        return [replace(block, mlp_ratio=rng.choice(self.expansions)) for block in drawn]

    def random_heads(self, blocks: Sequence[Block], rng: random.Random) -> tuple[Block, ...]:
        """The blocks with random numbers of heads. No random number is spent where there is no choice."""
        numbers = [self.heads_of(block) for block in blocks]
        drawn = [rng.choice(choice) if len(choice) > 1 else max(choice) for choice in numbers]
        return tuple(with_heads(block, num_heads) for block, num_heads in zip(blocks, drawn, strict=True))

    def swapped(self, block: Block) -> Block | None:
        """The block of the next cheaper kind with the same expansion, if there is one."""
        following = {a.kind: b for a, b in pairwise(self.blocks)}.get(block.kind)
        return None if following is None else in_kind(block, following)

    def contracted(self, block: Block) -> Block | None:
        """The block with the next smaller expansion, if there is one."""
        smaller = [ratio for ratio in self.expansions if ratio < block.mlp_ratio]
        return replace(block, mlp_ratio=smaller[0]) if smaller else None

    def pruned(self, block: Block) -> Block | None:
        """The block with the next smaller number of heads, if there is one."""
        fewer = [num_heads for num_heads in self.heads_of(block) if num_heads < num_heads_of(block)]
        return with_heads(block, fewer[0]) if fewer else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value, as in a space's file."""
        blocks = [block_to_json(replace(block, mlp_ratio=type(block).mlp_ratio)) for block in self.blocks]
        content: dict[str, Any] = {"widths": [self.min_width, self.max_width], "width_step": self.width_step}
        content |= {"blocks": blocks, "expansions": list(self.expansions)}
        if self.heads:
            for block in blocks:
                block.pop("num_heads", None)
            content["heads"] = list(self.heads)
        if self.largest == self.blocks[:1] * self.depth:
            return content | {"depth": self.depth}
        return content | {"largest": [block_to_json(block) for block in self.largest]}

    @classmethod
    def from_json(cls, record: "StageSpaceRecord") -> "StageSpace":
        """Inverse of `to_json`. Raises ArchitectureError, which begins with the field, for what no stage can be."""
        if ("depth" in record) == ("largest" in record):
            raise ArchitectureError("largest or depth is needed, and not both.")
        expansions = tuple(record.get("expansions", [4]))
        blocks = tuple(_block(block, "blocks") for block in record["blocks"])
        if any(isinstance(block, dict) and "mlp_ratio" in block for block in record["blocks"]):
            raise ArchitectureError("blocks have no mlp_ratio of their own: expansions is the list of them.")
        heads = tuple(record.get("heads", ()))
        if heads and any(isinstance(block, dict) and "num_heads" in block for block in record["blocks"]):
            raise ArchitectureError("blocks have no num_heads of their own where heads is the list of them.")
        best = {block.kind: replace(block, mlp_ratio=max(expansions, default=1)) for block in reversed(blocks)}
        best = {kind: with_heads(block, max(heads, default=num_heads_of(block))) for kind, block in best.items()}
        largest = tuple(
            best[block] if isinstance(block, str) and block in best else _block(block, "largest")
            for block in record.get("largest", [blocks[0].kind] * record.get("depth", 1))
        )
        low, high = record["widths"]
        return cls(low, high, blocks, largest, record.get("width_step", 16), expansions, heads)


BlockRecord = dict[str, Any] | str
"""A block as JSON or by the name of its kind: in `largest` as `blocks` has it, with the largest expansion and the most
heads, elsewhere with every option at its default."""


class StageSpaceRecord(TypedDict):
    """A stage of a search space: `widths` are the narrowest and the widest. The largest network has `depth` blocks of
    the first kind, or the blocks `largest`."""

    widths: Annotated[list[int], Field(min_length=2, max_length=2)]
    width_step: NotRequired[int]
    blocks: Annotated[list[BlockRecord], Field(min_length=1, max_length=8)]
    expansions: NotRequired[Annotated[list[Annotated[int, Field(ge=1, le=MAX_OPTION)]], Field(max_length=16)]]
    heads: NotRequired[Annotated[list[Annotated[int, Field(ge=1, le=MAX_OPTION)]], Field(min_length=1, max_length=16)]]
    depth: NotRequired[Annotated[int, Field(ge=1, le=MAX_DEPTH)]]
    largest: NotRequired[Annotated[list[BlockRecord], Field(min_length=1, max_length=MAX_DEPTH)]]


def _block(content: BlockRecord, field: str) -> Block:
    try:
        return block_from_json({"kind": content} if isinstance(content, str) else content)
    except ArchitectureError as error:
        raise ArchitectureError(f"{field}: {error}") from error
