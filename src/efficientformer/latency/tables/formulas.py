"""The formula of every table entry: its latency as a weighted sum of chain times."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import assert_never

from efficientformer.arch.parts import (
    Grid,
    Part,
    block_part,
    downsample_part,
    head_part,
    network_parts,
    stage_grids,
    stem_part,
)
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import MB3D, Architecture, Block, takes_tokens
from efficientformer.errors import LatencyError
from efficientformer.latency.tables.chains import Chain, Formula, axis_knots, knots

V2_IS_NOT_SUPPORTED = (
    "Latency tables hold parts of EfficientFormer, not of EfficientFormerV2. Measure the whole network instead: "
    "'efficientformer benchmark'."
)


def table_formulas(
    space: SearchSpace, resolution: int | Grid, num_classes: int, *, chain_length: int = 4
) -> dict[Part, Formula]:
    """How each entry of the space's table, by part, follows from chain times.

    Widths are knots of the space: all of a stage's widths where they are few, else `knots` of them. `chain_length` is
    the number of blocks in the longer chain of each block.
    """
    tables = _Formulas(space, resolution, num_classes, chain_length)
    formulas: dict[Part, Formula] = {}
    for index in range(4):
        for width in knots(space.widths(index)):
            formulas |= tables.blocks(index, width)
    for index in range(3):
        for in_width in axis_knots(space.widths(index)):
            for width in axis_knots(space.widths(index + 1)):
                formulas |= tables.downsample(index, in_width, width)
    for width in axis_knots(space.widths(2)):
        formulas |= tables.stage_3_borders(width)
    for width in axis_knots(space.widths(3)):
        formulas |= tables.stage_4_borders(width)
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
    """How the given parts of an architecture, of the space or outside it, follow from chain times.

    Raises LatencyError for parts of EfficientFormerV2.
    """
    if architecture.is_v2:
        raise LatencyError(V2_IS_NOT_SUPPORTED)
    formulas: dict[Part, Formula] = {}
    index = 0
    blocks = [block for stage in architecture.stages for block in stage.blocks]
    for part in network_parts(architecture, resolution, num_classes):
        if part in parts:
            around = [part.block, *blocks] if part.block is not None else blocks
            own = _space_around(around, space, architecture)
            formulas[part] = _Formulas(own, resolution, num_classes, chain_length).of(index, part)
        index += part.kind == "downsample"
    return formulas


def _space_around(blocks: Sequence[Block], space: SearchSpace, like: Architecture) -> SearchSpace:
    """The space with the first of these blocks on maps in every stage, and the first on tokens in the last two."""
    known = [*blocks, *(block for stage in space.stages for block in stage.blocks), MB3D()]
    on_maps = next(block for block in known if not takes_tokens(block))
    on_tokens = next(block for block in known if takes_tokens(block))
    stages = []
    for index, stage in enumerate(space.stages):
        kinds = (on_tokens, on_maps) if index >= 2 else (on_maps,)
        expansions = (on_maps.mlp_ratio,)
        stages.append(replace(stage, blocks=kinds, largest=kinds[-1:] * stage.depth, expansions=expansions))
    return replace(space, stem_strides=like.stem_strides, activation=like.activation, stages=tuple(stages))


@dataclass(frozen=True)
class _Formulas:
    """Formulas of single parts.

    In every network maps come out of a convolution, and runtimes keep the layout that it gave them. So chains of MB4D
    also start with the stem or a downsample: directly after the input they ran 14 % slower on ONNX Runtime.
    """

    space: SearchSpace
    resolution: int | Grid
    num_classes: int
    chain_length: int

    @cached_property
    def grids(self) -> list[Grid]:
        return stage_grids(self.space.stem_strides, self.resolution)

    def has_tokens(self, index: int) -> bool:
        """Whether some network of the space has an MB3D in this stage."""
        return self.space.stages[index].has_tokens

    def mb4d(self, index: int, width: int) -> Part:
        return block_part(
            self.space.stages[index].blocks[-1], self.grids[index], width, activation=self.space.activation
        )

    def mb3d(self, index: int, width: int) -> Part:
        return block_part(
            self.space.stages[index].blocks[0], self.grids[index], width, activation=self.space.activation
        )

    def entry(self, index: int, width: int) -> Part:
        """The convolution in front of the stage's maps: the stem, or the cheapest downsample."""
        if index == 0:
            return stem_part(self.space.stem_strides, self.resolution, width)
        return downsample_part(self.grids[index - 1], self.space.min_widths[index - 1], width)

    def maps(self, index: int, width: int) -> Chain:
        return self.entry(index, width), self.mb4d(index, width)

    def of(self, index: int, part: Part) -> Formula:
        """The formula of any part of stage `index`, or of the downsample behind it."""
        match part.kind:
            case "MB4D":
                return self.mb4d_block(index, part.width)
            case "MB3D":
                return self.mb3d_block(index, part.width)
            case "stem":
                return self.blocks(0, part.width)[part]
            case "downsample":
                return self.downsample(index, part.in_width, part.width)[part]
            case "flatten":
                return self.flatten(index, part.width)[1]
            case "unflatten":
                return self.stage_3_borders(part.width)[part]
            case "head":
                return self.stage_4_borders(part.width)[part]
            case "FFN" | "AttnFFN" | "attention_downsample" | "map_head":
                raise LatencyError(V2_IS_NOT_SUPPORTED)
            case _:
                assert_never(part.kind)

    def mb4d_block(self, index: int, width: int) -> Formula:
        return self._further_blocks((self.entry(index, width),), self.mb4d(index, width))

    def mb3d_block(self, index: int, width: int) -> Formula:
        return self._further_blocks((), self.mb3d(index, width))

    def blocks(self, index: int, width: int) -> dict[Part, Formula]:
        """The blocks of a stage, and the stem, which includes the cost of the call itself."""
        formulas = {self.mb4d(index, width): self.mb4d_block(index, width)}
        if self.has_tokens(index):
            formulas[self.mb3d(index, width)] = self.mb3d_block(index, width)
        if index == 0:
            stem = Formula.time(*self.maps(index, width)) - self.mb4d_block(index, width)
            formulas[self.entry(index, width)] = stem
        return formulas

    def downsample(self, index: int, in_width: int, width: int) -> dict[Part, Formula]:
        """The downsample behind stage `index`."""
        part = downsample_part(self.grids[index], in_width, width)
        before, after = self.maps(index, in_width), self.mb4d(index + 1, width)
        cost = Formula.time(*before, part, after) - Formula.time(*before) - self.mb4d_block(index + 1, width)
        return {part: cost}

    def flatten(self, index: int, width: int) -> tuple[Part, Formula]:
        part, maps = self._flatten_part(index, width), self.maps(index, width)
        if self.has_tokens(index):
            tokens = Formula.time(*maps, part, self.mb3d(index, width)) - self.mb3d_block(index, width)
        else:
            tokens = Formula.time(*maps, part)
        return part, tokens - Formula.time(*maps)

    def stage_3_borders(self, width: int) -> dict[Part, Formula]:
        """Flatten before the first MB3D of stage 3, and unflatten before the downsample behind it."""
        if not self.has_tokens(2):
            return {}
        part, flatten = self.flatten(2, width)
        unflatten = Part("unflatten", self.grids[2], width, width)
        next_width = self.space.min_widths[3]
        (down_cost,) = self.downsample(2, width, next_width).values()
        tokens = (*self.maps(2, width), part, self.mb3d(2, width))
        onward = (unflatten, downsample_part(self.grids[2], width, next_width), self.mb4d(3, next_width))
        cost = Formula.time(*tokens, *onward) - Formula.time(*tokens) - down_cost - self.mb4d_block(3, next_width)
        return {part: flatten, unflatten: cost}

    def stage_4_borders(self, width: int) -> dict[Part, Formula]:
        """Flatten before the first MB3D of stage 4 or before the head, and the head."""
        part, flatten = self.flatten(3, width)
        head = head_part(self.grids[3], width, self.num_classes)
        maps = self.maps(3, width)
        return {part: flatten, head: Formula.time(*maps, part, head) - Formula.time(*maps) - flatten}

    def _flatten_part(self, index: int, width: int) -> Part:
        return Part("flatten", self.grids[index], width, width)

    def _further_blocks(self, front: Chain, block: Part) -> Formula:
        """The time that each block after the first adds to a chain."""
        longer = Formula.time(*front, *(block,) * self.chain_length)
        return (longer - Formula.time(*front, block)) * (1 / (self.chain_length - 1))
