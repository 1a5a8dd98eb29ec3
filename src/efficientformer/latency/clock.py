"""The two clocks. CPU time counts only our own work, so it is repeatable on busy machines; it covers one thread
only."""

import time
from collections.abc import Callable
from typing import Literal, get_args

from efficientformer.errors import LatencyError

Clock = Literal["cpu", "wall"]
ReadClock = Callable[[], int]

_READERS: dict[Clock, ReadClock] = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}


def clock_reader(clock: Clock) -> ReadClock:
    """The function that reads a clock in nanoseconds: CPU time of the calling thread, or wall time."""
    return _READERS[clock]


def check_clock(clock: str, threads: int) -> None:
    """Raise LatencyError for a clock that does not exist or does not fit the number of threads."""
    if clock not in get_args(Clock):
        raise LatencyError(f"There is no clock {clock!r}; the clocks are {' and '.join(get_args(Clock))}.")
    if clock == "cpu" and threads != 1:
        raise LatencyError(
            f"CPU time covers the calling thread only, not {threads} threads. Use the wall clock, or one thread."
        )


def check_one_clock(*clocks: str) -> None:
    """Raise LatencyError unless all latencies to be compared were measured with the same clock."""
    if len(set(clocks)) > 1:
        raise LatencyError(
            f"Latencies of the {' and the '.join(sorted(set(clocks)))} clock cannot be compared: wall time "
            "includes waiting, CPU time does not. Measure both with the same clock."
        )
