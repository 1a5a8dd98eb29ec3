"""The ways an architecture gets smaller, or larger again, as values (paper, section 4.2; V2's joint search).

A move applies to an architecture and returns a new one. Stages and blocks are counted from 0.
"""

from dataclasses import dataclass, replace

from efficientformer.arch.spec import Architecture, Block, num_heads_of, with_heads
from efficientformer.errors import ArchitectureError


@dataclass(frozen=True)
class Drop:
    """A block becomes identity. Raises ArchitectureError where the stage has no other: a stage without blocks would be
    a stage without features."""

    stage: int
    block: int

    def apply(self, architecture: Architecture) -> Architecture:
        stage = architecture.stages[self.stage]
        if stage.depth == 1:
            raise ArchitectureError(f"Stage {self.stage + 1} keeps its only block.")
        blocks = stage.blocks[: self.block] + stage.blocks[self.block + 1 :]
        return architecture.with_stage(self.stage, replace(stage, blocks=blocks))


@dataclass(frozen=True)
class Swap:
    """A block becomes `into`, of another kind. Raises ArchitectureError where that kind cannot stand."""

    stage: int
    block: int
    into: Block

    def apply(self, architecture: Architecture) -> Architecture:
        return _with_block(architecture, self.stage, self.block, self.into)


@dataclass(frozen=True)
class Contract:
    """The MLP of a block gets another expansion, `mlp_ratio`."""

    stage: int
    block: int
    mlp_ratio: int

    def apply(self, architecture: Architecture) -> Architecture:
        block = replace(architecture.stages[self.stage].blocks[self.block], mlp_ratio=self.mlp_ratio)
        return _with_block(architecture, self.stage, self.block, block)


@dataclass(frozen=True)
class PruneHeads:
    """The attention of a block keeps `num_heads` heads, the first ones. Raises ArchitectureError for a block without
    attention."""

    stage: int
    block: int
    num_heads: int

    def apply(self, architecture: Architecture) -> Architecture:
        block = architecture.stages[self.stage].blocks[self.block]
        if not num_heads_of(block):
            raise ArchitectureError(f"Block {self.block + 1} of stage {self.stage + 1} has no attention: {block}.")
        return _with_block(architecture, self.stage, self.block, with_heads(block, self.num_heads))


@dataclass(frozen=True)
class Narrow:
    """A stage loses `by` channels, or with a negative `by` gains channels. Raises ArchitectureError for a width that no
    stage can have."""

    stage: int
    by: int

    def apply(self, architecture: Architecture) -> Architecture:
        stage = architecture.stages[self.stage]
        return architecture.with_stage(self.stage, replace(stage, width=stage.width - self.by))


@dataclass(frozen=True)
class NarrowHead:
    """An `option` of the dense head, such as its width, becomes `to`. Raises ArchitectureError for an architecture
    whose head has no such option."""

    option: str
    to: int

    def apply(self, architecture: Architecture) -> Architecture:
        head = architecture.head
        if head is None or not hasattr(head, self.option):
            raise ArchitectureError(f"The head has no option {self.option}: {head or 'it is that of a classifier'}.")
        return replace(architecture, head=replace(head, **{self.option: self.to}))


Move = Drop | Swap | Contract | PruneHeads | Narrow | NarrowHead


def _with_block(architecture: Architecture, stage_index: int, block_index: int, block: Block) -> Architecture:
    stage = architecture.stages[stage_index]
    blocks = (*stage.blocks[:block_index], block, *stage.blocks[block_index + 1 :])
    return architecture.with_stage(stage_index, replace(stage, blocks=blocks))
