"""Programs that a device runs, and one sample from each start of such a program."""

import contextlib
import math
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np

from efficientformer.errors import LatencyError
from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls
from efficientformer.latency.worker.output import Tail, last_lines

# A program starts with cold caches and a core at its lowest frequency, so it settles for longer than a process that
# stays, and is timed for longer, since its start costs more than that anyway.
SETTLING_MS = 100.0
TIMED_MS = 20.0
MAX_CALLS = 1000
MAX_OUTPUT = 16 << 20
MAX_MESSAGES = 1 << 16
# The output of a program that has ended is complete, unless something that it started keeps it open.
AFTER_END_S = 2.0


@dataclass(frozen=True)
class Finished:
    """How a program ended and what it wrote."""

    code: int
    stdout: str
    stderr: str

    def last_words(self, lines: int = 3) -> str:
        """The last lines of its messages, for an error message."""
        return last_lines(self.stderr.strip() or self.stdout, lines, " / ") or "it printed nothing"


def run_program(arguments: Sequence[str], *, timeout_s: float, remedy: str) -> Finished:
    """Run a program to its end, with whatever it starts itself.

    Raises LatencyError, with `remedy` for one that cannot be started, or when it takes longer than `timeout_s` or
    prints more than 16 MiB.
    """
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        problem = error.strerror if isinstance(error, OSError) else error
        raise LatencyError(f"{arguments[0]} cannot be started: {problem}. {remedy}") from error
    stdout = Tail(cast(BinaryIO, process.stdout), MAX_OUTPUT, on_flood=lambda: _end(process))
    stderr = Tail(cast(BinaryIO, process.stderr), MAX_MESSAGES)
    try:
        _wait(process, timeout_s)
        printed = stdout.text(AFTER_END_S), stderr.text(AFTER_END_S)
        if stdout.is_alive():
            _end(process)  # something that it started keeps its output open
    except BaseException as error:  # Ctrl-C included
        _end(process)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise LatencyError(f"{arguments[0]} was still running after {timeout_s:g} s and was ended.") from error
        raise
    if stdout.is_flooded:
        raise LatencyError(f"{arguments[0]} printed more than {MAX_OUTPUT >> 20} MiB and was ended.")
    return Finished(process.returncode, *printed)


def _wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    """Until the program's end. Raises subprocess.TimeoutExpired.

    Popen's own wait with a limit looks in steps that double up to 50 ms, at every sample of every table.
    """
    waiter = threading.Thread(target=process.wait, daemon=True)
    waiter.start()
    waiter.join(timeout_s)
    if waiter.is_alive():
        raise subprocess.TimeoutExpired(process.args, timeout_s)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the program and everything it started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


class StartedForEachSample:
    """A network timed by a program that is started for each sample: `time_calls` returns milliseconds per timed call.

    The program makes at least the calls asked for, and more to make up for its cold start. It measures either wall time
    or CPU time (`clock`).
    """

    def __init__(self, time_calls: Callable[[Calls], float], clock: str, what: str) -> None:
        self._time_calls = time_calls
        self._clock = clock
        self._what = what
        self._fastest_ms = math.inf

    def sample(self, calls: Calls, clock: Clock) -> float:
        if clock != self._clock:
            raise LatencyError(
                f"{self._what} measures {self._clock} time, not {clock} time. Use --clock {self._clock}."
            )
        latency_ms = self._time_calls(self._enough(calls))
        if not (math.isfinite(latency_ms) and latency_ms > 0):
            raise LatencyError(f"{self._what} gave a latency of {latency_ms} ms, which is not possible.")
        self._fastest_ms = min(self._fastest_ms, latency_ms)
        return latency_ms

    def output(self) -> np.ndarray:
        raise LatencyError(f"{self._what} times networks and gives no outputs. Compare outputs on --device local.")

    def _enough(self, calls: Calls) -> Calls:
        """At least the calls asked for; more of them once the duration of one is known."""
        settling, timed = (min(MAX_CALLS, math.ceil(ms / self._fastest_ms)) for ms in (SETTLING_MS, TIMED_MS))
        return Calls(max(calls.settling, settling), max(calls.timed, timed))
