"""How fast the machine is now, against the day of a table: some of the table's own networks, timed again.

A shared machine may be slower or faster as a whole by tens of percent from one hour to the next. Whoever adds to a
table, or holds networks against it, times the anchors in the same rounds.
"""

from collections.abc import Sequence

import numpy as np

from efficientformer.errors import LatencyError
from efficientformer.latency.tables.error import MeasuredNetwork
from efficientformer.latency.tables.table import LatencyTable

NUM_ANCHORS = 4
MAX_DISAGREEMENT = 0.15


def choose_anchors(table: LatencyTable) -> list[MeasuredNetwork]:
    """A few of the table's networks, spread over its latencies; the slowest, which is large, is not among them."""
    ordered = sorted(table.networks, key=lambda network: network.measured_ms)[:-1]
    places = np.linspace(0, len(ordered) - 1, min(NUM_ANCHORS, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def drift(anchors: Sequence[MeasuredNetwork], now_ms: np.ndarray) -> float:
    """What the anchors take now over what they took for the table: the median ratio."""
    return float(np.exp(np.median(_log_ratios(anchors, now_ms))))


def check_agreement(anchors: Sequence[MeasuredNetwork], now_ms: np.ndarray) -> None:
    """Raise LatencyError when most anchors tell different drifts."""
    logs = _log_ratios(anchors, now_ms)
    if np.median(np.abs(logs - np.median(logs))) > MAX_DISAGREEMENT:
        ratios = ", ".join(f"{ratio:.2f}" for ratio in np.exp(logs))
        raise LatencyError(
            f"The table's own networks take {ratios} times as long as the table says: this machine is too unsteady to "
            "add to it. Try again when it is quieter."
        )


def _log_ratios(anchors: Sequence[MeasuredNetwork], now_ms: np.ndarray) -> np.ndarray:
    return np.log(now_ms) - np.log([anchor.measured_ms for anchor in anchors])
