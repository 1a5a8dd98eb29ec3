"""How long to wait for a sample of a network, whose duration nobody knows before the first one."""

import contextlib
import time
from collections.abc import Iterator

FIRST_SAMPLE_S = 600.0
LEAST_S = 60.0
TIMES_THE_LONGEST = 20.0


class Patience:
    """The first sample may take `first_s`, later ones 20 times as long as the longest before, and a minute at least."""

    def __init__(self, first_s: float = FIRST_SAMPLE_S) -> None:
        self._first_s = first_s
        self._longest_s: float | None = None

    @property
    def limit_s(self) -> float:
        if self._longest_s is None:
            return self._first_s
        return min(self._first_s, max(LEAST_S, TIMES_THE_LONGEST * self._longest_s))

    @contextlib.contextmanager
    def for_sample(self) -> Iterator[float]:
        """The limit in seconds for the sample that is taken in the block."""
        started = time.monotonic()
        yield self.limit_s
        self._longest_s = max(self._longest_s or 0.0, time.monotonic() - started)
