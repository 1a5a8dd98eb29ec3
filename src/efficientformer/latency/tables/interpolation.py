"""Latencies of parts between the widths, expansions and heads that were measured, and how far off that is.

Along one width, latency is interpolated linearly in the MACs of the part: a block costs a constant and a price per MAC,
and its MACs grow with the square of its width. Where widths in and out vary apart, the cost is close to linear in each,
and so is the interpolation. (Measured on blocks of the `standard` space at 96 px, every second width left out: errors
of 1 to 4 % in MACs, 3 to 11 % in widths, 2 to 10 % for latency per channel.)

At one width, the MACs of a block are linear in its expansion, and so is its latency. What fewer heads save is linear in
the MACs saved, whatever the expansion, and between widths in the width.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import Part, PartKind
from efficientformer.latency.tables.entries import Entry, Widths, families

Knots = Mapping[Widths, float]
"""A figure by widths in and out, of one family."""
GroupKnots = Mapping[tuple[int, int], Knots]
"""By expansion and number of heads, of one group."""


class PartFigures:
    """A figure of parts, such as latency: measured, or interpolated between widths, expansions and heads."""

    def __init__(self, entries: Mapping[Part, Entry], figure: Callable[[Entry], float]) -> None:
        self._groups = _groups({part: figure(entry) for part, entry in entries.items()})
        self._known: dict[Part, float | None] = {}

    @classmethod
    def latencies_ms(cls, entries: Mapping[Part, Entry]) -> "PartFigures":
        return cls(entries, lambda entry: entry.latency_ms)

    @classmethod
    def uncached_in_chains_mib(cls, entries: Mapping[Part, Entry], cache_mib: float) -> "PartFigures":
        """MiB of weights that missed a cache in the chains, and so are in the latencies already."""
        return cls(entries, lambda entry: entry.uncached_in_chains_mib(cache_mib))

    def of(self, part: Part) -> float:
        """Interpolated where the part was not measured. Raises KeyError outside the entries."""
        value = self._find(part)
        if value is None:
            raise KeyError(part.key)
        return value

    def covers(self, part: Part) -> bool:
        return self._find(part) is not None

    def _find(self, part: Part) -> float | None:
        if part not in self._known:
            self._known[part] = interpolate_group(self._groups.get(part.group, {}), part)
        return self._known[part]


@dataclass(frozen=True)
class KnotErrors:
    """How well measured parts of one kind are predicted from their neighbors in width, in expansion or in heads.

    The neighbors are twice as far apart as those of a part that was not measured, so actual errors are smaller.
    `noise_ms` is the mean half-width of the parts' own 95 % intervals: errors below it cannot be resolved. `latency_ms`
    is their mean latency, for scale.
    """

    mean_ms: float
    max_ms: float
    noise_ms: float
    latency_ms: float
    num_knots: int

    @property
    def percent(self) -> float | None:
        """Mean error in percent of the mean latency; None where that latency is within the noise."""
        return 100 * self.mean_ms / self.latency_ms if self.latency_ms > 2 * self.noise_ms else None


def knot_errors(entries: Mapping[Part, Entry]) -> dict[PartKind, KnotErrors]:
    """By kind of part; kinds without a width, expansion or number of heads between others are left out."""
    predictions: dict[PartKind, list[tuple[Entry, float]]] = defaultdict(list)
    groups = _groups({part: entry.latency_ms for part, entry in entries.items()})
    for members in families(entries).values():
        first = next(iter(members))
        if first.num_heads == _usual_heads(groups[first.group]):
            for part, predicted_ms in _left_out({part: entry.latency_ms for part, entry in members.items()}):
                predictions[part.kind].append((entries[part], predicted_ms))
    for without in (_without_expansion, _without_heads):
        for part, entry in entries.items():
            predicted_ms = without(groups[part.group], part)
            if predicted_ms is not None:
                predictions[part.kind].append((entry, predicted_ms))
    return {kind: _summarize(pairs) for kind, pairs in predictions.items()}


def _groups(values: Mapping[Part, float]) -> dict[str, dict[tuple[int, int], dict[Widths, float]]]:
    """Values by group, by expansion and heads, and by widths."""
    groups: dict[str, dict[tuple[int, int], dict[Widths, float]]] = defaultdict(lambda: defaultdict(dict))
    for part, value in values.items():
        groups[part.group][part.expansion, part.num_heads][part.in_width, part.width] = value
    return groups


def _without_expansion(knots: GroupKnots, part: Part) -> float | None:
    """The part's latency, interpolated from other expansions alone; None if it has the smallest or the largest."""
    return interpolate_group({known: own for known, own in knots.items() if known[0] != part.expansion}, part)


def _without_heads(knots: GroupKnots, part: Part) -> float | None:
    """The part's latency, interpolated from other numbers of heads alone; None if it has the fewest or the usual."""
    if part.num_heads == _usual_heads(knots):
        return None
    return interpolate_group({known: own for known, own in knots.items() if known[1] != part.num_heads}, part)


def _left_out(latencies_ms: Mapping[Part, float]) -> Iterator[tuple[Part, float]]:
    """Parts with their interpolated latency, when one width at a time, in or out, is left out."""
    knots = {(part.in_width, part.width): latency_ms for part, latency_ms in latencies_ms.items()}
    for axis in (1,) if _has_one_axis(knots) else (0, 1):
        for left_out in sorted({widths[axis] for widths in knots})[1:-1]:
            others = {widths: latency_ms for widths, latency_ms in knots.items() if widths[axis] != left_out}
            for part in latencies_ms:
                if (part.in_width, part.width)[axis] == left_out:
                    predicted_ms = interpolate(others, part)
                    if predicted_ms is not None:
                        yield part, predicted_ms


def _summarize(pairs: list[tuple[Entry, float]]) -> KnotErrors:
    errors = [abs(predicted_ms - entry.latency_ms) for entry, predicted_ms in pairs]
    count = len(pairs)
    noise_ms = sum(entry.noise_ms for entry, _ in pairs) / count
    latency_ms = sum(entry.latency_ms for entry, _ in pairs) / count
    return KnotErrors(sum(errors) / count, max(errors), noise_ms, latency_ms, count)


def interpolate_group(knots: GroupKnots, part: Part) -> float | None:
    """Milliseconds of the part from those of its group, or None outside of them.

    With the usual number of heads, the one that was measured at most widths and expansions: between expansions. With
    another one that was not measured at these widths and this expansion: less what that saves.
    """
    if not knots:
        return None
    measured = knots.get((part.expansion, part.num_heads), {}).get((part.in_width, part.width))
    usual = _usual_heads(knots)
    if measured is None and part.num_heads != usual:
        whole, saved = _between_expansions(knots, part.with_heads(usual)), _saved_by_heads(knots, part, usual)
        if whole is not None and saved is not None:
            return whole - saved
    return _between_expansions(knots, part) if measured is None else measured


def _between_expansions(knots: GroupKnots, part: Part) -> float | None:
    """From parts with as many heads: between widths at its own expansion where that was measured at such widths, else
    between the two nearest expansions that were."""
    own = interpolate(knots.get((part.expansion, part.num_heads), {}), part)
    if own is not None:
        return own
    values: dict[int, float] = {}
    for (expansion, num_heads), at_widths in knots.items():
        value = interpolate(at_widths, part.with_expansion(expansion)) if num_heads == part.num_heads else None
        if value is not None:
            values[expansion] = value
    shares = _bracket(sorted(values), part.expansion)
    return sum(values[expansion] * share for expansion, share in shares) if shares else None


def _usual_heads(knots: GroupKnots) -> int:
    """The number of heads that was measured most often; of several, the largest."""
    counts: dict[int, int] = defaultdict(int)
    for (_, num_heads), at_widths in knots.items():
        counts[num_heads] += len(at_widths)
    return max(counts, key=lambda num_heads: (counts[num_heads], num_heads))


def _saved_by_heads(knots: GroupKnots, part: Part, usual: int) -> float | None:
    """What the part takes less than one with the usual number of heads, from parts that were measured with both."""
    values = {usual: 0.0}
    for number in {num_heads for _, num_heads in knots} - {usual}:
        saved: dict[Widths, float] = {}
        for (expansion, num_heads), few in knots.items():
            many = knots.get((expansion, usual), {})
            if num_heads == number:
                saved |= {widths: many[widths] - value for widths, value in few.items() if widths in many}
        value = interpolate(saved, part, in_macs=False)
        if value is not None:
            values[number] = value
    shares = _bracket(sorted(values), part.num_heads, lambda num_heads: part_cost(part.with_heads(num_heads)).macs)
    return sum(values[number] * share for number, share in shares) if shares else None


def interpolate(knots: Knots, part: Part, *, in_macs: bool = True) -> float | None:
    """Milliseconds of the part from those of its family at pairs of widths, or None outside of them.

    in_macs: along one width, linear in the part's MACs, else in the width.
    """
    if not knots:
        return None
    if _has_one_axis(knots):
        keeps_width = all(a == b for a, b in knots)
        if part.in_width != (part.width if keeps_width else next(iter(knots))[0]):
            return None
        corners = [
            ((knot if keeps_width else part.in_width, knot), share)
            for knot, share in _bracket(
                sorted(width for _, width in knots), part.width, partial(_macs, part) if in_macs else None
            )
        ]
    else:
        rows = _bracket(sorted({first for first, _ in knots}), part.in_width)
        columns = _bracket(sorted({second for _, second in knots}), part.width)
        corners = [((row, column), a * b) for row, a in rows for column, b in columns]
    if not corners or any(corner not in knots for corner, _ in corners):
        return None
    return sum(knots[corner] * share for corner, share in corners)


def _has_one_axis(knots: Mapping[Widths, object]) -> bool:
    """Whether only the width out varies: the width in equals it (blocks), or is always the same (the stem)."""
    return all(a == b for a, b in knots) or len({a for a, _ in knots}) == 1


def _bracket(axis: list[int], width: int, macs: Callable[[int], int] | None = None) -> list[tuple[int, float]]:
    """The widths around a width, or expansions or heads around another, with shares that sum to 1; empty outside.
    Shares are linear in the width, or in the MACs at a width."""
    if width in axis:
        return [(width, 1.0)]
    above = bisect_right(axis, width)
    if above in (0, len(axis)):
        return []
    low, high = axis[above - 1], axis[above]
    at, start, end = (macs(value) if macs else value for value in (width, low, high))
    if start == end:
        at, start, end = width, low, high
    share = (at - start) / (end - start)
    return [(low, 1.0 - share), (high, share)]


def _macs(part: Part, width: int) -> int:
    in_width = width if part.in_width == part.width else part.in_width
    return part_cost(replace(part, in_width=in_width, width=width)).macs
