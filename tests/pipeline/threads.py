"""Threads in place of the processes that torchrun starts."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from efficientformer.training.crew import Crew


@dataclass
class _Meeting:
    size: int
    values: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=60)

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.barrier.wait()
        values = [self.values[number] for number in range(self.size)]
        self.barrier.wait()
        return values


@dataclass(frozen=True)
class Threads:
    """A world whose processes are threads."""

    rank: int
    meeting: _Meeting

    @property
    def size(self) -> int:
        return self.meeting.size

    def patient(self) -> "Threads":
        return self

    def of_first(self, value: Any) -> Any:
        return self.meeting.exchange(self.rank, value)[0]

    def gather(self, value: Any) -> list[Any]:
        return self.meeting.exchange(self.rank, value)


@contextmanager
def crew_of(size: int, helper: Callable[[Threads], Callable[[Any], Any]]) -> Iterator[Crew]:
    """The crew of the first of `size` threads; each of the others does jobs with what `helper` makes of its world."""
    meeting = _Meeting(size)
    with ThreadPoolExecutor(size - 1) as executor:
        worlds: Any = [Threads(rank, meeting) for rank in range(size)]
        others = [executor.submit(Crew(world).follow, helper(world)) for world in worlds[1:]]
        crew = Crew(worlds[0])
        yield crew
        crew.let_go()
        for other in others:
            other.result()
