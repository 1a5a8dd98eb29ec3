"""Processes, started by torchrun, of which the first does a phase, and the others do the jobs that it asks for."""

from collections.abc import Callable
from typing import Any

from efficientformer.training.world import World


class Crew:
    """The first process asks, and the others follow.

    world: all of them. They wait for the first one for days, which measures, or trains by itself, meanwhile.
    """

    def __init__(self, world: World) -> None:
        self.world, self._patient = world, world.patient()

    @property
    def size(self) -> int:
        return self.world.size

    def ask(self, job: Any, own: Callable[[], Any]) -> list[Any]:
        """Send the others a job, and do `own` meanwhile; what each process answers, by rank.

        Raises what a process raises, once all are done.
        """
        self._patient.of_first(job)
        answers = self._answers(own)
        for _, error in answers:
            if error is not None:
                raise error
        return [answer for answer, _ in answers]

    def follow(self, do: Callable[[Any], Any]) -> None:
        """Do the jobs of the first process until it lets the others go. What a job raises is raised there."""
        while (job := self._patient.of_first(None)) is not None:
            self._answers(lambda job=job: do(job))

    def let_go(self) -> None:
        self._patient.of_first(None)

    def _answers(self, do: Callable[[], Any]) -> list[tuple[Any, Exception | None]]:
        try:
            own = do(), None
        except Exception as error:
            own = None, error
        return self._patient.gather(own)
