"""Which measured networks are worth a look: the front, and the best network within a budget. No torch."""

from collections.abc import Sequence

from efficientformer.formats.shortlist import ShortlistRow
from efficientformer.latency.timing.measurement import Percentile


def front(rows: Sequence[ShortlistRow]) -> list[ShortlistRow]:
    """The networks that no other one beats, fastest first: none is at least as fast and at least as accurate.

    Of networks that are equal in both, the first one stays.
    """
    kept: list[ShortlistRow] = []
    for row in sorted(filter(is_measured, rows), key=lambda row: (row["p50_ms"], -row["top1"])):
        if not kept or row["top1"] > kept[-1]["top1"]:
            kept.append(row)
    return kept


def best_that_fits(
    rows: Sequence[ShortlistRow], budget_ms: float, percentile: Percentile = "p50"
) -> ShortlistRow | None:
    """The most accurate network within the budget, the faster one of equals; None if there is none.

    As for a promise, the whole 95 % interval of the median must be within the budget; for "p90" the 90th percentile.
    """
    fitting = [row for row in filter(is_measured, rows) if _slowest_ms(row, percentile) <= budget_ms]
    return max(fitting, key=lambda row: (row["top1"], -(row["p50_ms"] or 0)), default=None)


def is_measured(row: ShortlistRow) -> bool:
    """Whether the network has a latency here, and the right output."""
    return row["p50_ms"] is not None and row["problem"] is None


def _slowest_ms(row: ShortlistRow, percentile: Percentile) -> float:
    value = row["p90_ms"] if percentile == "p90" else (row["interval_ms"] or [0, None])[1]
    assert value is not None
    return value
