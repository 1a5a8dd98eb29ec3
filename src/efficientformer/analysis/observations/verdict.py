"""Whether a claim holds on this device: one rule, applied to the interval of a ratio. No torch.

The interval is the 95 % interval over rounds, widened by what two copies of the same network differ by.

A claim holds when the whole interval lies on its side of the threshold, does not hold here when the whole interval
lies on the other side, and cannot be told when the threshold is inside.
"""

from collections.abc import Iterable, Mapping, Sequence

from efficientformer.analysis.observations.claims import Bound

HOLDS, FAILS, UNDECIDED = "holds", "does not hold here", "cannot be told"
IN_PART = "holds in part"
SAVES, COSTS, EQUAL = "saves", "costs", "no difference"

MATTERS = 0.02
"""A whole network that becomes this much faster or slower is worth a sentence."""
COMPILER_MATTERS = 1.05
"""Ratios that differ by this factor between two runtimes tell of the runtimes."""

Interval = tuple[float, float]


def widened(interval: Interval, copy_ratios: Iterable[float]) -> Interval:
    """The interval, further by the largest factor between copies on either side; no copies leave it as it is."""
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
    """The verdict on a claim from those of its experiments, unless most of them cannot tell."""
    decided = [verdict for verdict in verdicts if verdict != UNDECIDED]
    if 2 * len(decided) < len(verdicts):
        return UNDECIDED
    return decided[0] if len(set(decided)) == 1 else IN_PART


def switch_effect(interval: Interval) -> str:
    """What a changed choice does to a whole network, from the interval of its ratio to the unchanged one."""
    low, high = interval
    if high <= 1 - MATTERS:
        return SAVES
    if low >= 1 + MATTERS:
        return COSTS
    return EQUAL if low > 1 - MATTERS and high < 1 + MATTERS else UNDECIDED


def runtimes_differ(intervals: Mapping[str, Interval]) -> tuple[Interval, str]:
    """By what factor the same ratio differs between runtimes: the interval of the factor, and the verdict on it.

    The factor lies between that of the closest and that of the farthest ends of the two extreme runtimes.
    """
    lowest = min(intervals.values(), key=sum)
    highest = max(intervals.values(), key=sum)
    factor = (max(1.0, highest[0] / lowest[1]), highest[1] / lowest[0])
    return factor, verdict_on(factor, "at least", COMPILER_MATTERS)
