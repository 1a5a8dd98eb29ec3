"""Whether a claim holds on this device: one rule, applied to the interval of a ratio. No torch.

The interval is the 95 % interval over rounds, widened by the difference between two copies of the same network.

A claim holds when the whole interval is on its side of the threshold, does not hold here when the whole interval is on
the other side, and is undecided ("cannot be told" in records) when the threshold is inside.
"""

from collections.abc import Iterable, Mapping, Sequence

from efficientformer.analysis.observations.claims import Bound

HOLDS, FAILS, UNDECIDED = "holds", "does not hold here", "cannot be told"
IN_PART = "holds in part"
SAVES, COSTS, EQUAL = "saves", "costs", "no difference"

MATTERS = 0.02
"""Smallest relative change of a whole network's latency that counts."""
COMPILER_MATTERS = 1.05
"""Smallest factor between the ratios of two runtimes that counts as a difference between the runtimes."""

Interval = tuple[float, float]


def widened(interval: Interval, copy_ratios: Iterable[float]) -> Interval:
    """The interval, widened on both sides by the largest factor between copies; unchanged without copies."""
    factor = max((max(ratio, 1 / ratio) for ratio in copy_ratios), default=1.0)
    return interval[0] / factor, interval[1] * factor


def verdict_on(interval: Interval, bound: Bound, threshold: float) -> str:
    """The verdict on a ratio that a claim bounds by `threshold`."""
    low, high = interval
    if bound == "at most":
        low, high, threshold = -high, -low, -threshold
    if low >= threshold:
        return HOLDS
    return FAILS if high < threshold else UNDECIDED


def overall(verdicts: Sequence[str]) -> str:
    """The verdict on a claim from those of its experiments; undecided if most of them are."""
    decided = [verdict for verdict in verdicts if verdict != UNDECIDED]
    if 2 * len(decided) < len(verdicts):
        return UNDECIDED
    return decided[0] if len(set(decided)) == 1 else IN_PART


def switch_effect(interval: Interval) -> str:
    """The effect of a changed choice on a whole network, from the interval of its latency ratio to the unchanged
    network."""
    low, high = interval
    if high <= 1 - MATTERS:
        return SAVES
    if low >= 1 + MATTERS:
        return COSTS
    return EQUAL if low > 1 - MATTERS and high < 1 + MATTERS else UNDECIDED


def runtimes_differ(intervals: Mapping[str, Interval]) -> tuple[Interval, str]:
    """The factor by which a ratio differs between runtimes: its interval, and whether it counts.

    The interval reaches from the nearest to the farthest ends of the two extreme intervals.
    """
    lowest = min(intervals.values(), key=sum)
    highest = max(intervals.values(), key=sum)
    factor = (max(1.0, highest[0] / lowest[1]), highest[1] / lowest[0])
    return factor, verdict_on(factor, "at least", COMPILER_MATTERS)
