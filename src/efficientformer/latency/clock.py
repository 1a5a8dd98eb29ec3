"""The two clocks. CPU time counts only our own work, so it repeats on busy machines; it serves one thread only."""

import time
from collections.abc import Callable
from typing import Literal, get_args

from efficientformer.errors import LatencyError

Clock = Literal["cpu", "wall"]
ReadClock = Callable[[], int]

_READERS: dict[Clock, ReadClock] = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}


def clock_reader(clock: Clock) -> ReadClock:
    """The function that reads a clock, in nanoseconds: of the calling thread's computing, or of the wall."""
    return _READERS[clock]


def check_clock(clock: str, threads: int) -> None:
    """Raise LatencyError for a clock that does not exist or does not fit the number of threads."""
    if clock not in get_args(Clock):
        raise LatencyError(f"There is no clock {clock!r}; the clocks are {' and '.join(get_args(Clock))}.")
    if clock == "cpu" and threads != 1:
        raise LatencyError(
            f"CPU time counts the calling thread only and says nothing about {threads} threads. "
            "Use the wall clock, or one thread."
        )


def check_one_clock(*clocks: str) -> None:
    """Raise LatencyError unless all latencies that are to be compared were read from one and the same clock."""
    if len(set(clocks)) > 1:
        raise LatencyError(
            f"Latencies of the {' and the '.join(sorted(set(clocks)))} clock cannot be compared: CPU time leaves out "
            "what wall time counts. Measure both on one clock."
        )
