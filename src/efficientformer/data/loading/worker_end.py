"""How a process that loads images ends when the whole job is asked to."""

import os
import signal
import threading
from typing import Any

OUTLIVING_S = 25.0


def outlive_termination(_: int) -> None:
    """Schedulers send SIGTERM to all processes of a job. This one stays until the one that trains has ended its step,
    which ends it then, or for a while."""

    def end_later(*_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
        timer = threading.Timer(OUTLIVING_S, os._exit, [1])
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, end_later)
