"""Chains of parts and what they say about one part.

A part timed alone pays for the call, for reordering data at its borders, and keeps its weights in cache; in a network
it does none of that. So a table entry is a difference of chains, in which all of this cancels: a block costs what each
further block, with weights of its own, adds to a chain. The call's own cost is paid once in a network and goes with
the stem. Every entry is thus a weighted sum of chain times, so medians, resampled medians or hand-made numbers go in alike.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from efficientformer.arch.parts import Grid, Part, block_part, downsample_part, head_part, stage_grids, stem_part
from efficientformer.arch.space import SearchSpace

Chain = tuple[Part, ...]
MAX_WIDTHS = 8
NUM_AXIS_KNOTS = 3


@dataclass(frozen=True)
class Formula:
    """A weighted sum of chain times, in milliseconds."""

    weights: Mapping[Chain, float]

    @classmethod
    def time(cls, *parts: Part) -> "Formula":
        return cls({parts: 1.0})

    def __add__(self, other: "Formula") -> "Formula":
        total: defaultdict[Chain, float] = defaultdict(float, self.weights)
        for chain, weight in other.weights.items():
            total[chain] += weight
        return Formula({chain: weight for chain, weight in total.items() if weight})

    def __mul__(self, factor: float) -> "Formula":
        return Formula({chain: weight * factor for chain, weight in self.weights.items()})

    def __sub__(self, other: "Formula") -> "Formula":
        return self + other * -1.0


def chain_name(chain: Chain) -> str:
    """The chain in words: keys of its parts, repeats counted."""
    groups = [(key, len(list(parts))) for key, parts in groupby(part.key for part in chain)]
    return " + ".join(key if count == 1 else f"{count} x {key}" for key, count in groups)


def table_formulas(
    space: SearchSpace, resolution: int | Grid, num_classes: int, *, chain_length: int = 4
) -> dict[str, Formula]:
    """How each entry of the space's table, by `Part.key`, follows from chain times.

    Widths are knots of the space: all of a stage's widths where they are few, else `knots` of them. `chain_length` is the
    number of blocks in the longer chain of each block.
    """
    grids = stage_grids(space.stem_strides, resolution)
    widths = [knots(space.widths(index)) for index in range(4)]
    tables = _Formulas(space, grids, chain_length)
    formulas: dict[str, Formula] = {}
    for width in widths[0]:
        part = stem_part(space.stem_strides, resolution, width)
        maps = tables.mb4d(0, width)
        formulas[part.key] = Formula.time(part, maps) - tables.block(maps)
    for index, stage_widths in enumerate(widths):
        for width in stage_widths:
            formulas[tables.mb4d(index, width).key] = tables.block(tables.mb4d(index, width))
            if tables.has_tokens(index):
                formulas[tables.mb3d(index, width).key] = tables.block(tables.mb3d(index, width))
    for index in range(3):
        for in_width in axis_knots(widths[index]):
            for width in axis_knots(widths[index + 1]):
                part = downsample_part(grids[index], in_width, width)
                formulas[part.key] = tables.downsample(index, part)
    for index in (2, 3):
        if index == 3 or tables.has_tokens(index):
            for width in axis_knots(widths[index]):
                formulas |= tables.borders(index, width, num_classes)
    return formulas


def knots(widths: Sequence[int], count: int = MAX_WIDTHS) -> list[int]:
    """At most `count` of the widths, both ends among them, in ratios that are as small as they can be."""
    ratio = 1.0
    while len(chosen := _walk(widths, ratio)) > count:
        ratio *= 1.01
    return chosen


def _walk(widths: Sequence[int], ratio: float) -> list[int]:
    """From the narrowest to the widest in steps of at most `ratio`, or to the next width where that is further."""
    chosen = [0]
    while chosen[-1] < len(widths) - 1:
        here = chosen[-1]
        reach = [index for index in range(here + 1, len(widths)) if widths[index] <= widths[here] * ratio]
        chosen.append(reach[-1] if reach else here + 1)
    return [widths[index] for index in chosen]


def axis_knots(widths: Sequence[int]) -> list[int]:
    """The few widths at which parts are measured whose cost is small or close to linear in each width."""
    return knots(widths, NUM_AXIS_KNOTS)


@dataclass(frozen=True)
class _Formulas:
    space: SearchSpace
    grids: list[Grid]
    chain_length: int

    def has_tokens(self, index: int) -> bool:
        """Whether some network of the space has an MB3D in this stage: tokens fill stage 4 before they enter stage 3."""
        if index < 2 or self.space.max_mb3d == 0:
            return False
        return index == 3 or self.space.max_mb3d > 1

    def mb4d(self, index: int, width: int) -> Part:
        return block_part(self.space.mb4d, self.grids[index], width)

    def mb3d(self, index: int, width: int) -> Part:
        return block_part(self.space.mb3d, self.grids[index], width)

    def block(self, block: Part) -> Formula:
        longer = Formula.time(*(block,) * self.chain_length)
        return (longer - Formula.time(block)) * (1 / (self.chain_length - 1))

    def downsample(self, index: int, part: Part) -> Formula:
        before, after = self.mb4d(index, part.in_width), self.mb4d(index + 1, part.width)
        return Formula.time(before, part, after) - Formula.time(before) - self.block(after)

    def borders(self, index: int, width: int, num_classes: int) -> dict[str, Formula]:
        """Flatten and, after stage 3, unflatten or, after stage 4, the head."""
        grid = self.grids[index]
        maps, tokens = self.mb4d(index, width), self.mb3d(index, width)
        flatten = Part("flatten", grid, width, width)
        if self.has_tokens(index):
            flattening = Formula.time(maps, flatten, tokens) - Formula.time(maps) - self.block(tokens)
        else:
            flattening = Formula.time(maps, flatten) - Formula.time(maps)
        if index == 3:
            head = head_part(grid, width, num_classes)
            rest = Formula.time(maps, flatten, head) - Formula.time(maps) - flattening
            return {flatten.key: flattening, head.key: rest}
        unflatten = Part("unflatten", grid, width, width)
        there_and_back = Formula.time(maps, flatten, tokens, unflatten, maps) - Formula.time(maps)
        rest = there_and_back - flattening - self.block(tokens) - self.block(maps)
        return {flatten.key: flattening, unflatten.key: rest}
