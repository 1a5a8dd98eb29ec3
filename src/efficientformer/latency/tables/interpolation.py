"""Latencies of parts between the widths and expansions that were measured, and how far off that is.

Along one width, latency is interpolated linearly in the MACs of the part: a block costs a constant and a price per MAC,
and its MACs grow with the square of its width. Where widths in and out vary apart, the cost is close to linear in each,
and so is the interpolation. (Measured on blocks of the `standard` space at 96 px, every second width left out: errors
of 1 to 4 % in MACs, 3 to 11 % in widths, 2 to 10 % for latency per channel.)

At one width, the MACs of a block are linear in its expansion, and so is its latency.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import Part, PartKind
from efficientformer.latency.tables.entries import Entry, Widths, families

Knots = Mapping[Widths, float]
"""A figure by widths in and out, of one family."""
GroupKnots = Mapping[int, Knots]
"""By expansion, of one group."""


class PartFigures:
    """A figure of parts, such as latency: measured, or interpolated between widths and expansions."""

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
    """How well measured parts of one kind are predicted from their neighbors in width or in expansion.

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
    """By kind of part; kinds without a width or expansion between others are left out."""
    predictions: dict[PartKind, list[tuple[Entry, float]]] = defaultdict(list)
    for members in families(entries).values():
        for part, predicted_ms in _left_out({part: entry.latency_ms for part, entry in members.items()}):
            predictions[part.kind].append((entries[part], predicted_ms))
    groups = _groups({part: entry.latency_ms for part, entry in entries.items()})
    for part, entry in entries.items():
        predicted_ms = _without_expansion(groups[part.group], part)
        if predicted_ms is not None:
            predictions[part.kind].append((entry, predicted_ms))
    return {kind: _summarize(pairs) for kind, pairs in predictions.items()}


def _groups(values: Mapping[Part, float]) -> dict[str, dict[int, dict[Widths, float]]]:
    """Values by group, expansion and widths."""
    groups: dict[str, dict[int, dict[Widths, float]]] = defaultdict(lambda: defaultdict(dict))
    for part, value in values.items():
        groups[part.group][part.expansion][part.in_width, part.width] = value
    return groups


def _without_expansion(knots: GroupKnots, part: Part) -> float | None:
    """The part's latency, interpolated from other expansions alone; None if it has the smallest or the largest."""
    return interpolate_group({expansion: own for expansion, own in knots.items() if expansion != part.expansion}, part)


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
    """Milliseconds of the part from those of its group, or None outside of them: between widths at its own expansion
    where that was measured at such widths, else between the two nearest expansions that were."""
    own = interpolate(knots.get(part.expansion, {}), part)
    if own is not None:
        return own
    values: dict[int, float] = {}
    for expansion, at_widths in knots.items():
        value = interpolate(at_widths, part.with_expansion(expansion))
        if value is not None:
            values[expansion] = value
    shares = _bracket(sorted(values), part.expansion)
    return sum(values[expansion] * share for expansion, share in shares) if shares else None


def interpolate(knots: Knots, part: Part) -> float | None:
    """Milliseconds of the part from those of its family at pairs of widths, or None outside of them."""
    if not knots:
        return None
    if _has_one_axis(knots):
        keeps_width = all(a == b for a, b in knots)
        if part.in_width != (part.width if keeps_width else next(iter(knots))[0]):
            return None
        corners = [
            ((knot if keeps_width else part.in_width, knot), share)
            for knot, share in _bracket(sorted(width for _, width in knots), part.width, macs_of=part)
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


def _bracket(axis: list[int], width: int, *, macs_of: Part | None = None) -> list[tuple[int, float]]:
    """The widths around a width, or expansions around an expansion, with shares that sum to 1; empty outside. Shares
    are linear in width, or in MACs."""
    if width in axis:
        return [(width, 1.0)]
    above = bisect_right(axis, width)
    if above in (0, len(axis)):
        return []
    low, high = axis[above - 1], axis[above]
    at, start, end = (_macs(macs_of, value) if macs_of else value for value in (width, low, high))
    if start == end:
        at, start, end = width, low, high
    share = (at - start) / (end - start)
    return [(low, 1.0 - share), (high, share)]


def _macs(part: Part, width: int) -> int:
    in_width = width if part.in_width == part.width else part.in_width
    return part_cost(replace(part, in_width=in_width, width=width)).macs
