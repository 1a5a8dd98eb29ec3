"""A network ready to be timed, wherever it runs: in this process, in a worker, or on another device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from efficientformer.latency.clock import Clock, clock_reader

NS_PER_MS = 1e6


@dataclass(frozen=True)
class Calls:
    """Calls of one sample: `settling` ones that are not timed, then `timed` ones."""

    settling: int
    timed: int


class Prepared(Protocol):
    """A network on a runtime with one fixed input, `input_sample` of its shape."""

    def sample(self, calls: Calls, clock: Clock) -> float:
        """Milliseconds per timed call, read from the clock of the machine and thread where the network runs."""
        ...

    def output(self) -> np.ndarray:
        """The first output for the fixed input, to compare runtimes with."""
        ...


@dataclass(frozen=True)
class InProcess:
    """A network that `run` calls in this thread; `first_output` takes the array out of what `run` returns."""

    run: Callable[[], Any]
    first_output: Callable[[Any], np.ndarray] = np.asarray

    def sample(self, calls: Calls, clock: Clock) -> float:
        read, run = clock_reader(clock), self.run
        for _ in range(calls.settling):
            run()
        start = read()
        for _ in range(calls.timed):
            run()
        return (read() - start) / calls.timed / NS_PER_MS

    def output(self) -> np.ndarray:
        return self.first_output(self.run())
