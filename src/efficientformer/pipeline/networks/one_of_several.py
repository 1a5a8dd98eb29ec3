"""The process of one of several networks: it does what it is asked on its input, and reports on its output."""

import contextlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from efficientformer.errors import EfficientFormerError, TrainingError
from efficientformer.pipeline.run.console import ProgressUpdate, RunConsole
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir

Work = Callable[[Workspace, RunNetwork], None]
"""A function of a module, since the process imports it."""
Message = tuple[str, Any]
"""`done`, `failed` with an error, `progress` with steps done, steps in all and a text, or a method of the console with
its arguments."""
REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class Request:
    """What the process does: `work` for a network of the run at `root`. The data set is the parent's, which has said
    what it found in it."""

    root: Path
    settings: Settings
    dataset: Any
    network: RunNetwork
    work: Work


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing that a library prints gets among the messages
    request: Request = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    console = _RemoteConsole(request.network.title, answers)
    workspace = Workspace(RunDir(request.root), request.settings, console)
    vars(workspace)["dataset"] = request.dataset
    try:
        request.work(workspace, request.network)
    except EfficientFormerError as error:
        console.send("failed", error)
    else:
        console.send("done")


class _RemoteConsole(RunConsole):
    """Messages go to the process that started this one."""

    def __init__(self, title: str, answers: BinaryIO) -> None:
        super().__init__(quiet=True)
        self._title, self._answers = title, answers

    def send(self, kind: str, content: Any = None) -> None:
        self._answers.write(_pickled(kind, content))
        self._answers.flush()

    def phase(self, name: str, text: str = "") -> None:
        self.send("phase", (name, text))

    def say(self, text: str) -> None:
        self.send("say", (text,))

    def say_once(self, text: str) -> None:
        self.send("say_once", (text,))

    def warn(self, text: str) -> None:
        self.send("warn", (text,))

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[ProgressUpdate]:
        last, is_shown = -REPORT_EVERY_S, description.endswith(self._title)

        def update(done: int, total: int, text: str = "") -> None:
            nonlocal last
            # Of the work itself alone: images are loaded in another number of steps.
            if is_shown and (done == total or time.monotonic() - last >= REPORT_EVERY_S):
                last = time.monotonic()
                self.send("progress", (done, total, text))

        yield update


def _pickled(kind: str, content: Any) -> bytes:
    try:
        return pickle.dumps((kind, content))
    except Exception:  # an error may carry anything
        return pickle.dumps((kind, TrainingError(str(content))))


def _end_with_parent() -> None:
    """A parent that was killed ends nothing, and two trainings of a network would write the same files."""
    # Not through `sys.stdin`, whose lock the processes that load images would inherit.
    while os.read(0, 1):
        pass
    os._exit(1)
