"""What a tracker does, and how a training is kept safe from it."""

from collections.abc import Callable, Mapping
from typing import Protocol


class Tracker(Protocol):
    """Shows the entries of one training. A training that is resumed opens it again, with the step that it is at."""

    def write(self, step: int, scores: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Guarded:
    """A tracker that cannot end a training: its first failure is said, and it gets no more entries.

    open_tracker: of the step that the training is at; 0 for a new one, of which nothing is there yet.
    """

    def __init__(self, title: str, open_tracker: Callable[[int], Tracker], say: Callable[[str], None]) -> None:
        self._title, self._open, self._say = title, open_tracker, say
        self._tracker: Tracker | None = None

    def begin(self, step: int) -> None:
        self._try(lambda: setattr(self, "_tracker", self._open(step)))

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        if (tracker := self._tracker) is not None:
            self._try(lambda: tracker.write(step, scores))

    def close(self) -> None:
        if (tracker := self._tracker) is not None:
            self._tracker = None
            self._try(tracker.close)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # of other people's programs: networks, versions, disks
            self._tracker = None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._say(f"{self._title} is left out ({reason}); the training goes on, and metrics.jsonl has its curves")
