"""Chains of parts, from whose times the latency of one part follows.

A part timed alone includes the cost of the call and of reordering data at its borders, and its weights stay in cache;
in a network none of this is so. A table entry is therefore a difference of chains, in which all of it cancels: a block
costs what each further block, with weights of its own, adds to a chain. The cost of the call itself occurs once in a
network and is included in the stem. Every entry is thus a weighted sum of chain times; medians and resampled medians go
in alike.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from efficientformer.arch.parts import Part

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


def knots(widths: Sequence[int], count: int = MAX_WIDTHS) -> list[int]:
    """At most `count` of the widths, including both ends, such that the largest ratio of neighbors is smallest."""
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
    """The few widths at which parts are measured if their cost is small or almost linear in each width."""
    return knots(widths, NUM_AXIS_KNOTS)
