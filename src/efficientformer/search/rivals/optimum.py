"""The exact optimum within a latency budget if accuracy drops are additive. No torch.

Latencies of a table are additive too, so this is a multiple-choice knapsack: one choice of width and blocks for each
stage, coupled by the downsamples between stages. Pareto fronts of (latency, drop) are carried from stage to stage;
every partial network that the optimum could contain is kept.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from efficientformer.arch.parts import Grid, Part, downsample_part, head_part, stage_grids, stage_parts, stem_part
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Block, Stage, takes_tokens
from efficientformer.errors import BudgetError
from efficientformer.search.rivals.surrogate import AdditiveSurrogate
from efficientformer.search.subnet import Subnet

Choice = tuple[Block | None, ...]
"""The block that replaces each block of a stage of the largest network; None is identity."""


@dataclass(frozen=True)
class _Option:
    """One stage at one width; `choice` costs the least accuracy of all choices with the same numbers of blocks on
    maps and on tokens."""

    stage: Stage
    choice: Choice
    latency_ms: float
    drop: float

    @property
    def has_maps(self) -> bool:
        return self.stage.num_on_tokens < self.stage.depth

    @property
    def has_tokens(self) -> bool:
        return self.stage.num_on_tokens > 0


@dataclass(frozen=True)
class _Front:
    """A Pareto front of the first stages of networks; each path of options has a lower drop than all faster ones."""

    latency_ms: np.ndarray
    drop: np.ndarray
    paths: list[tuple[_Option, ...]]


def best_subnet(
    space: SearchSpace,
    surrogate: AdditiveSurrogate,
    part_ms: Callable[[Part], float],
    *,
    resolution: int | Grid,
    num_classes: int,
    budget_ms: float,
) -> Subnet:
    """The subnet with the lowest drop of all whose summed part latencies are within the budget.

    space: the search space.
    surrogate: the accuracy drop of every choice.
    part_ms: latency of a part in milliseconds.
    resolution, num_classes: of the networks; the latencies of their parts depend on them.
    budget_ms: upper bound of the sum, in milliseconds.

    Raises BudgetError when no subnet is fast enough.
    """
    part_ms = lru_cache(maxsize=None)(part_ms)
    grids = stage_grids(space.stem_strides, resolution)
    fronts: list[_Front] = [_Front(np.zeros(1), np.zeros(1), [()])]
    for index, grid in enumerate(grids):
        choices = _choices(space, surrogate, index)
        endings: dict[tuple[int, bool], list[_Option]] = defaultdict(list)
        for width in space.widths(index):
            alone_ms = part_ms(stem_part(space.stem_strides, resolution, width)) if index == 0 else 0.0
            alone_ms += part_ms(head_part(grid, width, num_classes)) if index == 3 else 0.0
            for choice, drop in choices:
                stage = Stage(width, tuple(block for block in choice if block is not None))
                latency_ms = alone_ms + sum(
                    map(part_ms, stage_parts(stage, grid, is_last=index == 3, activation=space.activation))
                )
                option = _Option(stage, choice, latency_ms, drop + surrogate.narrowed[index][width])
                endings[width, option.has_tokens].append(option)

        def downsample_ms(before: int, width: int, grid: Grid = grids[max(0, index - 1)]) -> float:
            return part_ms(downsample_part(grid, before, width))

        grown = (_grown(fronts, options, downsample_ms, budget_ms) for options in endings.values())
        fronts = [front for front in grown if front.paths]
    if not fronts:
        raise BudgetError(f"No network of the space takes {budget_ms:.3f} ms or less. Ask for a larger budget.")
    best = min(fronts, key=lambda front: (front.drop[-1], front.latency_ms[-1]))
    return _subnet(best.paths[-1], space)


def _choices(space: SearchSpace, surrogate: AdditiveSurrogate, index: int) -> list[tuple[Choice, float]]:
    """For each number of blocks on maps and on tokens, the choice that costs the least accuracy; a block is kept."""
    best: dict[tuple[int, int], tuple[float, Choice]] = {(0, 0): (0.0, ())}
    for block, dropped, changed in zip(
        space.largest().stages[index].blocks, surrogate.dropped[index], surrogate.changed[index], strict=True
    ):
        following: dict[tuple[int, int], tuple[float, Choice]] = {}
        for (maps, tokens), (drop, choice) in best.items():
            ways: list[tuple[tuple[int, int], float, Block | None]] = [((maps, tokens), dropped, None)]
            if tokens == 0:
                on_maps = space.stages[index].blocks[-1]
                ways.append(((maps + 1, 0), changed.get(on_maps, 0.0), on_maps))
            if takes_tokens(block):
                ways.append(((maps, tokens + 1), 0.0, block))
            for counts, cost, kept in ways:
                if counts not in following or drop + cost < following[counts][0]:
                    following[counts] = (drop + cost, (*choice, kept))
        best = following
    return [(choice, drop) for counts, (drop, choice) in best.items() if counts != (0, 0)]


def _grown(
    fronts: Iterable[_Front], options: list[_Option], downsample_ms: Callable[[int, int], float], budget_ms: float
) -> _Front:
    """Every path extended by one stage, with options that end in the same width and layout. Paths that are too slow or
    dominated are removed."""
    latencies, drops, origins = [np.zeros(0)], [np.zeros(0)], []
    for front in fronts:
        before = front.paths[0][-1] if front.paths[0] else None
        fitting = [option for option in options if before is None or not (before.has_tokens and option.has_maps)]
        if not fitting:
            continue
        linked_ms = 0.0 if before is None else downsample_ms(before.stage.width, fitting[0].stage.width)
        added_ms, added = (np.array([getattr(o, name) for o in fitting]) for name in ("latency_ms", "drop"))
        latencies.append((front.latency_ms[:, None] + added_ms + linked_ms).ravel())
        drops.append((front.drop[:, None] + added).ravel())
        origins.append((front, fitting))
    latency_ms, drop = np.concatenate(latencies), np.concatenate(drops)
    kept = _undominated(latency_ms, drop, budget_ms)
    ends = np.cumsum([len(values) for values in latencies[1:]])
    paths = []
    for index in kept:
        piece = int(np.searchsorted(ends, index, side="right"))
        front, fitting = origins[piece]
        row, column = divmod(int(index) - (int(ends[piece - 1]) if piece else 0), len(fitting))
        paths.append((*front.paths[row], fitting[column]))
    return _Front(latency_ms[kept], drop[kept], paths)


def _undominated(latency_ms: np.ndarray, drop: np.ndarray, budget_ms: float) -> np.ndarray:
    """Indices within the budget, from fast to slow, each with a lower drop than all before it."""
    within = np.flatnonzero(latency_ms <= budget_ms)
    order = within[np.lexsort((drop[within], latency_ms[within]))]
    lowest_before = np.minimum.accumulate(np.concatenate(([np.inf], drop[order])))[:-1]
    return order[drop[order] < lowest_before]


def _subnet(path: tuple[_Option, ...], space: SearchSpace) -> Subnet:
    origins = tuple(tuple(place for place, block in enumerate(option.choice) if block is not None) for option in path)
    return Subnet(space.network(option.stage for option in path), origins)
