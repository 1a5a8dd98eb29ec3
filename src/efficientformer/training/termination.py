"""SIGTERM, which schedulers send some time before they kill: a training ends after its step, with a checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def termination() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM came since the block began; in it the signal does nothing else.

    A program that handles the signal itself keeps its handler, and so does a thread other than the main one.
    """
    asked = threading.Event()
    is_main = threading.current_thread() is threading.main_thread()
    is_free = is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_free:
        signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        if is_free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def terminated_text(step: int, num_steps: int) -> str:
    return f"Terminated after step {step:,} of {num_steps:,}. Run the same command again to go on from there."
