"""The formula of every table entry: its latency as a weighted sum of chain times.

No kind of block has a name here. What is chained follows from the blocks that a stage may hold, and from the layouts
that they work on.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

from efficientformer.arch.cost import part_cost
from efficientformer.arch.dense import DenseHead
from efficientformer.arch.parts import (
    Part,
    block_parts,
    downsample_part,
    entries,
    head_parts,
    network_parts,
    stage_grids,
    stage_parts,
)
from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import NUM_STAGES, Architecture, Block, Stage, takes_tokens, with_heads
from efficientformer.arch.stage_space import StageSpace
from efficientformer.arch.zoo import Four
from efficientformer.latency.tables.chains import Chain, Formula, axis_knots, knots


def table_formulas(
    space: SearchSpace, resolution: int | Grid, num_classes: int, *, chain_length: int = 4
) -> dict[Part, Formula]:
    """How each entry of the space's table, by part, follows from chain times.

    Widths and expansions are knots of the space: all of a stage's widths where they are few, else `knots` of them, and
    the largest, the smallest and one expansion between. What fewer heads save is measured at `axis_knots` of heads and
    widths alone, with the smallest expansion. `chain_length` is the number of blocks in the longer chain of each block.
    """
    largest = space.largest()
    blocks = tuple(_Blocks.of(_knot_blocks(stage), largest) for stage in space.stages)
    tables = _Formulas(largest, blocks, space.min_widths, resolution, num_classes, chain_length)
    formulas: dict[Part, Formula] = {}
    for index in range(NUM_STAGES):
        widths = knots(space.widths(index))
        for width in widths:
            formulas |= tables.blocks(index, width)
        for width in axis_knots(widths):
            formulas |= tables.pruned(index, width, _with_fewer_heads(space.stages[index]))
    for index in range(NUM_STAGES - 1):
        for in_width in axis_knots(space.widths(index)):
            for width in axis_knots(space.widths(index + 1)):
                formulas |= tables.downsample(index, in_width, width)
    for index in (2, 3):
        for width in axis_knots(space.widths(index)):
            formulas |= tables.borders(index, width)
    widths = [axis_knots(space.widths(index)) for index in range(NUM_STAGES)]
    for head in _knot_heads(space):
        formulas |= replace(tables, architecture=replace(largest, head=head)).dense_head(widths)
    return formulas


def architecture_formulas(
    architecture: Architecture,
    parts: Collection[Part],
    space: SearchSpace,
    resolution: int | Grid,
    num_classes: int,
    *,
    chain_length: int = 4,
) -> dict[Part, Formula]:
    """How the given parts of an architecture, of the space or outside it, follow from chain times."""
    blocks = tuple(
        _Blocks.of([*stage.blocks, *(_on_tokens(allowed.blocks) if not stage.num_on_tokens else ())], architecture)
        for stage, allowed in zip(architecture.stages, space.stages, strict=True)
    )
    tables = _Formulas(architecture, blocks, space.min_widths, resolution, num_classes, chain_length)
    widths, formulas = architecture.widths, {}
    for index, width in enumerate(widths):
        formulas |= tables.blocks(index, width) | tables.borders(index, width)
    for index, (in_width, width) in enumerate(pairwise(widths)):
        formulas |= tables.downsample(index, in_width, width)
    formulas |= tables.dense_head([[width] for width in widths])
    ordered = network_parts(architecture, resolution, num_classes)
    return {part: formulas[part] for part in ordered if part in parts}


def _knot_blocks(stage: StageSpace) -> list[Block]:
    """The blocks of a stage at the expansions at which they are measured."""
    return [replace(block, mlp_ratio=ratio) for block in stage.blocks for ratio in axis_knots(stage.expansions[::-1])]


def _knot_heads(space: SearchSpace) -> list[DenseHead]:
    """The dense heads at the widths at which they are measured, of every depth."""
    if space.head is None:
        return []
    return [
        head
        for head in space.head.every()
        if head.fpn_width in axis_knots(space.head.fpn_width[::-1]) and head.width in axis_knots(space.head.width[::-1])
    ]


def _with_fewer_heads(stage: StageSpace) -> list[Block]:
    """The blocks that attend at the numbers of heads at which they are measured, except the largest."""
    smallest = [replace(block, mlp_ratio=stage.expansions[-1]) for block in stage.blocks]
    return [with_heads(block, number) for block in smallest for number in axis_knots(stage.heads_of(block)[::-1])[:-1]]


def _on_tokens(blocks: Iterable[Block]) -> list[Block]:
    return [block for block in blocks if takes_tokens(block)]


@dataclass(frozen=True)
class _Blocks:
    """The blocks of one stage by layout, cheapest first. There is always one on maps: the downsample ends in a map."""

    on_maps: tuple[Block, ...]
    on_tokens: tuple[Block, ...]

    @classmethod
    def of(cls, blocks: Iterable[Block], architecture: Architecture) -> "_Blocks":
        """Of blocks of which none may be on maps: then the architecture's first block stands in for one."""
        ordered = sorted(dict.fromkeys(blocks), key=_expense)
        on_maps = tuple(block for block in ordered if not takes_tokens(block))
        return cls(on_maps or architecture.stages[0].blocks[:1], tuple(_on_tokens(ordered)))


def _expense(block: Block) -> tuple[int, int]:
    """What blocks are ordered by: parts, then MACs on some map."""
    parts = block_parts(block, (8, 8), 64)
    return len(parts), sum(part_cost(part).macs for part in parts)


@dataclass(frozen=True)
class _Formulas:
    """Formulas of single parts.

    In every network maps come out of a convolution, and runtimes keep the layout that it gave them. So chains of blocks
    on maps also start with the stem or a downsample: directly after the input they ran 14 % slower on ONNX Runtime.

    architecture: one whose stem, downsamples and head are those of the table, but for their widths.
    stage_blocks: the blocks of each stage.
    entry_widths: by stage, the width in front of the downsample that starts the chains of the next stage.
    """

    architecture: Architecture
    stage_blocks: tuple[_Blocks, ...]
    entry_widths: Four
    resolution: int | Grid
    num_classes: int
    chain_length: int

    @cached_property
    def grids(self) -> list[Grid]:
        return stage_grids(self.architecture.stem_strides, self.resolution)

    @cached_property
    def entries(self) -> list[Part]:
        return entries(self.architecture, self.resolution)

    @cached_property
    def head(self) -> list[Part]:
        return head_parts(self.architecture, self.resolution, self.num_classes)

    def entry(self, index: int, width: int) -> Part:
        """The convolution in front of the stage's maps: the stem, or a cheap downsample."""
        if index == 0:
            return replace(self.entries[0], width=width)
        return downsample_part(self.grids[index - 1], self.entry_widths[index - 1], width)

    def parts(self, index: int, width: int, blocks: Sequence[Block]) -> list[list[Part]]:
        """Of each block."""
        activation = self.architecture.activation
        return [block_parts(block, self.grids[index], width, activation=activation) for block in blocks]

    def on_maps(self, index: int, width: int) -> Part:
        """The cheapest part on maps that is a block by itself."""
        return self.parts(index, width, self.stage_blocks[index].on_maps)[0][-1]

    def on_tokens(self, index: int, width: int) -> Chain:
        """The cheapest block on tokens, if the stage may have one."""
        return tuple(chain.from_iterable(self.parts(index, width, self.stage_blocks[index].on_tokens[:1])))

    def maps(self, index: int, width: int) -> Chain:
        return self.entry(index, width), self.on_maps(index, width)

    def block(self, index: int, width: int) -> Formula:
        """The cheapest block on maps."""
        return self._further_blocks((self.entry(index, width),), self.on_maps(index, width))

    def blocks(self, index: int, width: int) -> dict[Part, Formula]:
        """The blocks of a stage, and the stem, which includes the cost of the call itself."""
        own = self.stage_blocks[index]
        formulas = self._alike((self.entry(index, width),), self.parts(index, width, own.on_maps))
        formulas |= self._alike((), self.parts(index, width, own.on_tokens))
        if index == 0:
            stem = Formula.time(*self.maps(index, width)) - self.block(index, width)
            formulas[self.entry(index, width)] = stem
        return formulas

    def pruned(self, index: int, width: int, blocks: Sequence[Block]) -> dict[Part, Formula]:
        """Blocks with fewer heads than those of the stage that are chained otherwise."""
        own, tokens = self.stage_blocks[index], _on_tokens(blocks)
        maps = [block for block in blocks if block not in tokens]
        formulas: dict[Part, Formula] = {}
        if maps:
            formulas |= self._alike((self.entry(index, width),), self.parts(index, width, [*own.on_maps[:1], *maps]))
        if tokens:
            formulas |= self._alike((), self.parts(index, width, [*own.on_tokens[:1], *tokens]))
        return formulas

    def downsample(self, index: int, in_width: int, width: int) -> dict[Part, Formula]:
        """The downsample behind stage `index`."""
        part = replace(self.entries[index + 1], in_width=in_width, width=width)
        before, after = self.maps(index, in_width), self.on_maps(index + 1, width)
        cost = Formula.time(*before, part, after) - Formula.time(*before) - self.block(index + 1, width)
        return {part: cost}

    def borders(self, index: int, width: int) -> dict[Part, Formula]:
        """What stands behind the maps of a stage: changes of layout, if it has any, and a classifier's head."""
        formulas: dict[Part, Formula] = {}
        if layouts := self._layouts(index, width):
            flatten, *back = layouts
            formulas[flatten] = self._flatten(index, width, flatten)
            formulas |= {part: self._unflatten(index, width, flatten, part) for part in back}
        if index == NUM_STAGES - 1 and self.architecture.head is None:
            maps, head = self.maps(index, width), replace(self.head[0], in_width=width, width=width)
            cost = Formula.time(*maps, *formulas, head) - Formula.time(*maps)
            for formula in formulas.values():
                cost -= formula
            formulas[head] = cost
        return formulas

    def dense_head(self, widths: Sequence[Sequence[int]]) -> dict[Part, Formula]:
        """The parts of a dense head: what each adds to a chain that ends in the map that it reads.

        widths: by stage, those at which the pyramid is measured, narrowest first. What is behind it is measured on
            levels of the narrowest.
        """
        if self.architecture.head is None:
            return {}
        formulas: dict[Part, Formula] = {}
        pyramid = [part for part in self.head if part.kind == "fpn_level"]
        behind, fronts = self.head[len(pyramid) :], list[Chain]()
        for index, level in enumerate(pyramid, start=self.architecture.head.first_stage):
            for width in widths[index]:
                part = replace(level, in_width=width)
                formulas[part] = _added(self.maps(index, width), part)
            fronts.append((*self.maps(index, widths[index][0]), replace(level, in_width=widths[index][0])))
        for part in behind:
            match part.kind:
                case "fpn_further":
                    front = fronts[-1]
                    fronts.append((*front, part))
                case "semantic_classes" | "detections":
                    front = (*fronts[0], next(level for level in behind if level.kind.endswith("_level")))
                case _:
                    assert part.level is not None
                    front = fronts[part.level.number]
            formulas[part] = _added(front, part)
        return formulas

    def _layouts(self, index: int, width: int) -> list[Part]:
        """Flatten and unflatten, as far as a stage has them with blocks on maps and on tokens."""
        own = self.stage_blocks[index]
        parts = stage_parts(
            Stage(width, own.on_maps[:1] + own.on_tokens[:1]),
            self.grids[index],
            gives_tokens=index == NUM_STAGES - 1 and self.architecture.ends_in_tokens,
        )
        return [part for part in parts if part.block is None]

    def _flatten(self, index: int, width: int, part: Part) -> Formula:
        maps, tokens = self.maps(index, width), self.on_tokens(index, width)
        longer = Formula.time(*maps, part, *tokens)
        for block in tokens:
            longer -= self._further_blocks((), block)
        return longer - Formula.time(*maps)

    def _unflatten(self, index: int, width: int, flatten: Part, part: Part) -> Formula:
        """Before the downsample behind the stage, or behind the last the level of the pyramid."""
        if index == NUM_STAGES - 1:
            tokens = (*self.maps(index, width), flatten, *self.on_tokens(index, width))
            level = replace(next(p for p in reversed(self.head) if p.kind == "fpn_level"), in_width=width)
            return Formula.time(*tokens, part, level) - Formula.time(*tokens) - _added(self.maps(index, width), level)
        next_width = self.entry_widths[index + 1]
        ((down, down_cost),) = self.downsample(index, width, next_width).items()
        tokens = (*self.maps(index, width), flatten, *self.on_tokens(index, width))
        onward = (part, down, self.on_maps(index + 1, next_width))
        cost = Formula.time(*tokens, *onward) - Formula.time(*tokens) - down_cost
        return cost - self.block(index + 1, next_width)

    def _alike(self, front: Chain, blocks: Sequence[list[Part]]) -> dict[Part, Formula]:
        """The parts of all blocks on one layout, of which the first is the cheapest, or with as many heads as others.

        The cheapest costs what each further one adds. Every other part is the one new part of some block, and costs
        what a chain of such blocks takes beyond a chain of the cheapest: one more chain per part, and little noise.
        """
        if not blocks:
            return {}
        cheapest = blocks[0][-1]
        base = Formula.time(*front, *(cheapest,) * self.chain_length)
        formulas = {cheapest: self._further_blocks(front, cheapest)}
        for parts in (*(parts[-1:] for parts in blocks), *blocks):
            for new in (part for part in parts if part not in formulas):
                longer = Formula.time(*front, *parts * self.chain_length)
                cost = (longer - base) * (1 / self.chain_length) + formulas[cheapest]
                for known in parts:
                    cost = cost if known == new else cost - formulas[known]
                formulas[new] = cost
        return formulas

    def _further_blocks(self, front: Chain, block: Part) -> Formula:
        """The time that each block after the first adds to a chain."""
        longer = Formula.time(*front, *(block,) * self.chain_length)
        return (longer - Formula.time(*front, block)) * (1 / (self.chain_length - 1))


def _added(front: Chain, part: Part) -> Formula:
    """What a part takes behind a chain."""
    return Formula.time(*front, part) - Formula.time(*front)
