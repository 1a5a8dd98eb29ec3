"""A latency over several sessions, each of which opens the networks again, in a new process where the runtime has one.

Where memory lies, which core runs and what the neighbors do is the same for all rounds of a session and different in
the next process, so no interval over rounds covers another process: over 140 processes of ten each it held their
median in 44 %. Here a session counts as one value, its median. The interval is of the median over processes, from order
statistics: whatever the distribution, as long as sessions are independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from efficientformer.latency.timing.measurement import Measurement, Percentile, Ratio
from efficientformer.latency.timing.quiet import median_interval

NUM_SESSIONS = 6
"""The fewest whose smallest and largest value enclose the median of all processes with 95 % probability."""
OUTSIDE_PERCENT = 10.0


def percent_of_look(look: int) -> float:
    """Confidence of the interval when a verdict is reached for the `look`-th time: 95, 98.3, 99.2, 99.5 %, ...

    Sessions are pooled and looked at again until they decide; whoever looks often sees what is not there. With these
    levels a latency over its limit ends below it with a probability of at most 5 % over all looks together: one side of
    the sum of 10 % / (k (k + 1)).
    """
    return 100.0 - OUTSIDE_PERCENT / (look * (look + 1))


@dataclass(frozen=True)
class Repeated:
    """Latency of one network, in milliseconds per call, over `sessions` at the `look`-th look at them.

    Each value is the median over sessions of that of a `Measurement`, each interval one of the median over processes,
    with `percent` confidence.
    """

    sessions: Sequence[Measurement]
    look: int = 1

    @property
    def percent(self) -> float:
        return percent_of_look(self.look)

    @property
    def p50_ms(self) -> float:
        return self._median(lambda session: session.p50_ms)

    @property
    def all_p50_ms(self) -> float:
        return self._median(lambda session: session.all_p50_ms)

    @property
    def p90_ms(self) -> float:
        return self._median(lambda session: session.p90_ms)

    @property
    def disturbed_percent(self) -> float:
        return float(np.mean([session.disturbed_percent for session in self.sessions]))

    @property
    def interval_ms(self) -> tuple[float, float]:
        return self.at("p50")[1]

    def at(self, percentile: Percentile) -> tuple[float, tuple[float, float]]:
        """`p50_ms` or `p90_ms`, with its interval."""
        values = [session.p50_ms if percentile == "p50" else session.p90_ms for session in self.sessions]
        return float(np.median(values)), median_interval(np.array(values), self.percent)

    def ratio_to(self, reference: "Repeated", name: str) -> Ratio:
        """Median over sessions of the ratio to a network that was measured in the same sessions.

        That of a session is the ratio of the medians: where most samples are disturbed, few rounds are quiet for both,
        and ratios within rounds differ between sessions by several times as much. (On a busy machine, over 24 sessions
        of three networks of 0.2 to 0.7 ms: by 0.6 to 4.7 %, those of medians by 0.5 to 0.9 %.)
        """
        pairs = zip(self.sessions, reference.sessions, strict=True)
        values = np.array([own.p50_ms / other.p50_ms for own, other in pairs])
        return Ratio(name, float(np.median(values)), median_interval(values, self.percent))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value: the figures, and the sessions with all of their samples."""
        return {
            "p50_ms": round(self.p50_ms, 6),
            "interval_ms": [round(value, 6) for value in self.interval_ms],
            "interval_percent": round(self.percent, 2),
            "session_p50_ms": [round(session.p50_ms, 6) for session in self.sessions],
            "sessions": [session.to_json() for session in self.sessions],
        }

    def _median(self, value: Callable[[Measurement], float]) -> float:
        return float(np.median([value(session) for session in self.sessions]))
