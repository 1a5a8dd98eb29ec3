"""The path of least drop within a latency budget, in a graph of layers: a multiple-choice knapsack. No torch.

Exact, in integers. Paths from the start are carried from layer to layer as Pareto fronts of (latency, drop). A path is
left out as soon as it cannot be completed within the budget, or to a drop as low as that of a network already known.
Both bounds come from the Lagrangian relaxation, in which a unit of latency has a price.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

START, END = "start", "end"
MOST = 20_000
"""Paths that a front may have before it is thinned."""
SLACK = 1 << 10
"""Units of drop by which a bound may be off: it is computed in floating point."""


class Edge(NamedTuple):
    """A choice, what it costs, and the node of the next layer that it leads to."""

    to: Hashable
    choice: object
    latency: int
    drop: int


Layers = Sequence[Mapping[Hashable, Sequence[Edge]]]
"""The edges of every node of every layer. The first layer is START alone; the edges of the last lead to END."""
Costs = list[dict[Hashable, float]]
"""The least cost from every node to END, by layer; END itself is the last layer."""


@dataclass(frozen=True)
class Path:
    """Choices from START to END. No path within the budget has a drop of less than `least`."""

    choices: tuple[object, ...]
    latency: int
    drop: int
    least: int


def best_path(layers: Layers, budget: int, most: int = MOST) -> Path | None:
    """The path of least drop whose latency is within the budget, and of these the fastest; None without any.

    The result is exact, `least` its drop, unless a front has more than `most` paths.
    """
    latencies = _to_end(layers, lambda edge: edge.latency)
    if latencies[0].get(START, np.inf) > budget:
        return None
    price, known = _relaxed(layers, latencies, budget)
    priced = _to_end(layers, lambda edge: edge.drop + price * edge.latency)
    bound = int(np.ceil(priced[0][START] - price * budget - SLACK))
    best, error = _front_search(layers, latencies, priced, price, budget, known, most)
    if best is None or known.drop < best.drop:
        best = known
    return Path(best.choices, best.latency, best.drop, max(bound, best.drop - error) if error else best.drop)


def _to_end(layers: Layers, cost: Callable[[Edge], float]) -> Costs:
    costs: Costs = [{END: 0.0}]
    for layer in reversed(layers):
        ends = costs[-1]
        least = {
            node: min((cost(edge) + ends[edge.to] for edge in edges if edge.to in ends), default=np.inf)
            for node, edges in layer.items()
        }
        costs.append({node: value for node, value in least.items() if value < np.inf})
    return costs[::-1]


def _walk(layers: Layers, costs: Costs, cost: Callable[[Edge], float]) -> Path:
    """The path of least cost."""
    node, choices, latency, drop = START, list[object](), 0, 0
    for layer, ends in zip(layers, costs[1:], strict=True):
        edge = min((edge for edge in layer[node] if edge.to in ends), key=lambda edge: cost(edge) + ends[edge.to])
        node, latency, drop = edge.to, latency + edge.latency, drop + edge.drop
        choices.append(edge.choice)
    return Path(tuple(choices), latency, drop, drop)


def _relaxed(layers: Layers, latencies: Costs, budget: int) -> tuple[float, Path]:
    """The price of latency whose relaxation has the highest bound, and the best path within the budget that was found.

    Between the fastest path and the one of least drop, the price is that at which both cost the same; a path that costs
    less there takes the place of one of them, until there is none.
    """
    fast = _walk(layers, latencies, lambda edge: edge.latency)
    slow = _walk(layers, _to_end(layers, lambda edge: edge.drop), lambda edge: edge.drop)
    if slow.latency <= budget:
        return 0.0, slow
    best = fast
    while True:
        price = (fast.drop - slow.drop) / (slow.latency - fast.latency)

        path = _cheapest(layers, price)
        if path.drop + price * path.latency >= slow.drop + price * slow.latency - SLACK:
            return price, best
        if path.latency <= budget:
            fast = path
            best = min(best, path, key=lambda known: known.drop)
        else:
            slow = path


def _cheapest(layers: Layers, price: float) -> Path:
    """The path of the least drop plus price times latency."""

    def cost(edge: Edge) -> float:
        return edge.drop + price * edge.latency

    return _walk(layers, _to_end(layers, cost), cost)


@dataclass(frozen=True, eq=False)
class _Front:
    """Paths from START to one node, from fast to slow, each of lower drop than all faster ones. Path i extends path
    `rows[i]` of the front `sources[pieces[i]]` by the choice beside it."""

    latency: np.ndarray
    drop: np.ndarray
    sources: "list[tuple[_Front, object]]"
    pieces: np.ndarray
    rows: np.ndarray

    def choices(self, index: int) -> tuple[object, ...]:
        choices, front = list[object](), self
        while front.sources:
            (source, choice), index = front.sources[front.pieces[index]], front.rows[index]
            choices.append(choice)
            front = source
        return tuple(reversed(choices))


def _front_search(
    layers: Layers, latencies: Costs, priced: Costs, price: float, budget: int, known: Path, most: int
) -> tuple[Path | None, int]:
    """The best path that beats the `known` one or equals it, and by how much another may beat it: 0 unless a front was
    thinned."""
    zero = np.zeros(1, dtype=np.int64)
    fronts: dict[Hashable, _Front] = {START: _Front(zero, zero, [], zero, zero)}
    error = 0
    for layer, least_latency, least_price in zip(layers, latencies[1:], priced[1:], strict=True):
        pieces: dict[Hashable, list[tuple[_Front, Edge]]] = defaultdict(list)
        for node, front in fronts.items():
            for edge in layer[node]:
                if edge.to in least_latency:
                    pieces[edge.to].append((front, edge))
        fronts, thinned_by = {}, 0
        for node, found in pieces.items():
            latency = np.concatenate([front.latency + edge.latency for front, edge in found])
            drop = np.concatenate([front.drop + edge.drop for front, edge in found])
            bound = drop + price * (latency - budget) + least_price[node]
            may_win = (latency + least_latency[node] <= budget) & (bound <= known.drop + SLACK)
            kept, gap = _thinned(drop, _undominated(latency, drop, np.flatnonzero(may_win)), most)
            thinned_by = max(thinned_by, gap)
            if len(kept):
                starts = np.cumsum([0] + [len(front.latency) for front, _ in found])
                piece = np.searchsorted(starts, kept, side="right") - 1
                sources = [(front, edge.choice) for front, edge in found]
                fronts[node] = _Front(latency[kept], drop[kept], sources, piece, kept - starts[piece])
        error += thinned_by
    if END not in fronts:
        return None, error
    front = fronts[END]
    drop = int(front.drop[-1])
    return Path(front.choices(-1), int(front.latency[-1]), drop, drop - error), error


def _undominated(latency: np.ndarray, drop: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of these indices, from fast to slow, those with a lower drop than all before them."""
    order = among[np.lexsort((drop[among], latency[among]))]
    lowest = np.minimum.accumulate(drop[order])
    return order[np.flatnonzero(np.diff(lowest, prepend=np.iinfo(np.int64).max >> 1) < 0)]


def _thinned(drop: np.ndarray, kept: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """At most about `most` of the paths of a front, the fastest one of each interval of drop, and the largest drop that
    a path left out is below the faster one that stays for it."""
    if len(kept) <= most:
        return kept, 0
    drops = drop[kept]
    interval = (int(drops[0]) - int(drops[-1])) // most + 1
    numbers = (drops[0] - drops) // interval
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    stands_for = np.repeat(drops[first], np.diff(first, append=len(drops)))
    return kept[first], int((stands_for - drops).max())
