"""Speed of the machine now, relative to the time of a table: some of the table's own networks, timed again.

A shared machine as a whole may be slower or faster by tens of percent from one hour to the next. So anchors are timed
in the same rounds as parts that are added to a table, or networks that are compared with it.
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
    """Median ratio of the anchors' latency now to that in the table."""
    return float(np.exp(np.median(_log_ratios(anchors, now_ms))))


def check_agreement(anchors: Sequence[MeasuredNetwork], now_ms: np.ndarray) -> None:
    """Raise LatencyError when the ratios of the anchors differ too much for one drift."""
    logs = _log_ratios(anchors, now_ms)
    if np.median(np.abs(logs - np.median(logs))) > MAX_DISAGREEMENT:
        ratios = ", ".join(f"{ratio:.2f}" for ratio in np.exp(logs))
        raise LatencyError(
            f"The table's own networks now take {ratios} times as long as in the table: this machine is too unsteady "
            "to add to it. Try again when less else is running."
        )


def _log_ratios(anchors: Sequence[MeasuredNetwork], now_ms: np.ndarray) -> np.ndarray:
    return np.log(now_ms) - np.log([anchor.measured_ms for anchor in anchors])
