"""Trainings that are killed: what raises, and after which steps."""

from collections.abc import Callable, Iterable


class Killed(BaseException):
    """Stands for the end of the process."""


def killing_after(steps: Iterable[int]) -> Callable[[int, float], None]:
    """An `on_step` that kills once after each of these steps."""
    left = set(steps)

    def on_step(step, loss):
        if step in left:
            left.remove(step)
            raise Killed

    return on_step
