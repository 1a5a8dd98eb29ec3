"""The exact optimum within a latency budget if accuracy drops are additive. No torch.

Latencies of a table are additive too, so this is a multiple-choice knapsack: every place holds identity or one of the
stage's blocks, stages have one width each and are coupled by the downsamples between them. The networks of a space are
the paths of a graph (`knapsack`): a dense head where there is one, then the width of a stage, then place after place.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from efficientformer.arch.dense import DenseHead
from efficientformer.arch.parts import Part, block_parts, entries, head_parts, stage_grids, stage_parts
from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import NUM_STAGES, Architecture, Block, Stage, takes_tokens
from efficientformer.errors import BudgetError
from efficientformer.search.rivals.knapsack import END, START, Edge, best_path
from efficientformer.search.rivals.surrogate import AdditiveSurrogate
from efficientformer.search.subnet import Subnet

BUDGET_UNITS, DROP_UNIT = 2**40, 1e-11
"""Latencies are in integers of which the budget has this number, drops in integers of so many points. A part's latency
is rounded down, so no network within the budget is left out."""


@dataclass(frozen=True)
class Optimum:
    """The subnet with the lowest drop that was found, and the points by which another one may be better: 0 where the
    search was exact."""

    subnet: Subnet
    gap: float


class _Node(NamedTuple):
    """The width of a stage whose first places are filled, and whether its last block is on tokens; None: it has none.

    after_tokens: the stage before ends on tokens. Then no block here works on maps: tokens would have to become maps
    for more than a downsample. head: the dense head behind the stages, which reads every width.
    """

    width: int
    on_tokens: bool | None
    after_tokens: bool
    head: DenseHead | None


def find_optimum(
    space: SearchSpace,
    surrogate: AdditiveSurrogate,
    part_ms: Callable[[Part], float],
    *,
    resolution: int | Grid,
    num_classes: int,
    budget_ms: float,
) -> Optimum:
    """The subnet with the lowest drop of all whose summed part latencies are within the budget.

    space: the search space.
    surrogate: the accuracy drop of every choice.
    part_ms: latency of a part in milliseconds.
    resolution, num_classes: of the networks; the latencies of their parts depend on them.
    budget_ms: upper bound of the sum, in milliseconds.

    Raises BudgetError when no subnet is fast enough.
    """
    if budget_ms > 0:
        graph = _Graph(space, surrogate, part_ms, resolution, num_classes, budget_ms)
        if path := best_path(graph.layers, BUDGET_UNITS):
            return Optimum(graph.subnet(path.choices), (path.drop - path.least) * DROP_UNIT)
    raise BudgetError(f"No network of the space takes {budget_ms:.3f} ms or less. Ask for a larger budget.")


class _Graph:
    """The layers whose paths are the networks of a space: the dense head if it has one, and for every stage one of its
    widths, then one per place."""

    def __init__(
        self,
        space: SearchSpace,
        surrogate: AdditiveSurrogate,
        part_ms: Callable[[Part], float],
        resolution: int | Grid,
        num_classes: int,
        budget_ms: float,
    ) -> None:
        self._space, self._surrogate = space, surrogate
        self._part_ms, self._budget_ms = lru_cache(maxsize=None)(part_ms), budget_ms
        self._resolution, self._num_classes = resolution, num_classes
        self._grids = stage_grids(space.stem_strides, resolution)
        self._small = space.smallest().stages
        self.layers: list[dict[Hashable, list[Edge]]] = []
        nodes: list[Hashable] = [START]
        if space.head is not None:
            nodes = self._add({START: [self._starts(head) for head in space.head.every()]})
        for index, stage in enumerate(space.stages):
            nodes = self._add({node: self._widths(index, node) for node in nodes})
            for place in range(stage.depth):
                nodes = self._add({node: self._blocks(index, place, node) for node in nodes})
        self._add({node: self._ends(node) for node in nodes})

    def subnet(self, choices: tuple[object, ...]) -> Subnet:
        """The network of a path."""
        remaining, stages, origins = iter(choices), list[Stage](), list[tuple[int, ...]]()
        head = None if self._space.head is None else next(remaining)
        assert head is None or isinstance(head, DenseHead)
        for allowed in self._space.stages:
            width, blocks = next(remaining), [next(remaining) for _ in range(allowed.depth)]
            assert isinstance(width, int)
            stages.append(Stage(width, tuple(block for block in blocks if isinstance(block, Block))))
            origins.append(tuple(place for place, block in enumerate(blocks) if block is not None))
        return Subnet(self._space.network(stages, head), tuple(origins))

    def _add(self, layer: dict[Hashable, list[Edge]]) -> list[Hashable]:
        self.layers.append(layer)
        return list(dict.fromkeys(edge.to for edges in layer.values() for edge in edges))

    def _starts(self, head: DenseHead) -> Edge:
        """Choose the dense head, and pay for all of it that no stage's width changes."""
        small = self._space.network(self._small, head)
        behind = [part for part in self._heads(small) if part.kind != "fpn_level"]
        return Edge(head, head, sum(map(self._units, behind)), _drop_units(self._surrogate.drop_of_head(head)))

    def _widths(self, index: int, node: Hashable) -> list[Edge]:
        """Enter a stage: through the stem, or from the end of the stage before. Of a dense head, pay for the level that
        reads the stage."""
        before = node if isinstance(node, _Node) else None
        if before and before.on_tokens is None:
            return []
        head = before.head if before else node if isinstance(node, DenseHead) else None
        edges, layout = list[Edge](), self._layout(index - 1, before) if before else 0
        for width, drop in self._surrogate.narrowed[index].items():
            small = self._with_widths(index, before.width if before else None, width, head)
            parts = [entries(small, self._resolution)[index]]
            if head is not None and index >= head.first_stage:
                parts.append(self._heads(small)[index - head.first_stage])
            to = _Node(width, None, bool(before and before.on_tokens), head)
            edges.append(Edge(to, width, layout + sum(map(self._units, parts)), _drop_units(drop)))
        return edges

    def _blocks(self, index: int, place: int, node: Hashable) -> list[Edge]:
        """Fill a place: with nothing, with a block on maps as long as none on tokens is before it, or with one on
        tokens where the largest network has one too."""
        assert isinstance(node, _Node)
        stage, changed = self._space.stages[index], self._surrogate.changed[index][place]
        edges = [Edge(node, None, 0, _drop_units(self._surrogate.dropped[index][place]))]
        for block in reversed(stage.candidates):
            on_tokens = takes_tokens(block)
            can_stand = takes_tokens(stage.largest[place]) if on_tokens else not (node.on_tokens or node.after_tokens)
            if can_stand:
                parts = block_parts(block, self._grids[index], node.width, activation=self._space.activation)
                units, drop = sum(map(self._units, parts)), _drop_units(changed.get(block, 0.0))
                edges.append(Edge(node._replace(on_tokens=on_tokens), block, units, drop))
        return edges

    def _ends(self, node: Hashable) -> list[Edge]:
        """Leave the last stage, through the head of a classifier."""
        assert isinstance(node, _Node)
        if node.on_tokens is None:
            return []
        last = NUM_STAGES - 1
        heads = self._heads(self._with_widths(last, None, node.width, None)) if node.head is None else []
        return [Edge(END, None, self._layout(last, node) + sum(map(self._units, heads)), 0)]

    def _layout(self, index: int, node: _Node) -> int:
        """Latency of a stage's changes of layout."""
        block = next(block for block in self._space.stages[index].blocks if takes_tokens(block) == node.on_tokens)
        gives_tokens = index == NUM_STAGES - 1 and node.head is None and not self._space.is_v2
        parts = stage_parts(Stage(node.width, (block,)), self._grids[index], gives_tokens=gives_tokens)
        return sum(self._units(part) for part in parts if part.block is None)

    def _with_widths(self, index: int, before: int | None, width: int, head: DenseHead | None) -> Architecture:
        """A small network in which stage `index` has this width and the one before it the width `before`."""
        stages = list(self._small)
        stages[index] = replace(stages[index], width=width)
        if before is not None:
            stages[index - 1] = replace(stages[index - 1], width=before)
        return self._space.network(stages, head)

    def _heads(self, network: Architecture) -> list[Part]:
        return head_parts(network, self._resolution, self._num_classes)

    def _units(self, part: Part) -> int:
        """Latency of a part; one far beyond the budget counts as twice the budget."""
        share = self._part_ms(part) / self._budget_ms
        return math.floor(BUDGET_UNITS * min(2.0, max(-2.0, share)))


def _drop_units(points: float) -> int:
    return round(points / DROP_UNIT)
