"""Train the networks of a run at the same time, each in a process of its own.

A step of a small network has too little work for several threads, so two networks side by side on two cores take little
more time than one. Each process has its share of the threads, whatever the others do: a run that was interrupted ends
with the same bits as one that was not.
"""

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from efficientformer.errors import EfficientFormerError, TrainingError
from efficientformer.pipeline.run.console import ProgressUpdate, RunConsole, usable_cores
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir

Work = Callable[[Workspace, RunNetwork], None]
"""A function of a module, since other processes import it."""
REPORT_EVERY_S = 0.5


def side_by_side(workspace: Workspace, networks: Sequence[RunNetwork], work: Work, *, doing: str) -> None:
    """Do `work` for every network in a process of its own, `training_processes` of them at a time.

    doing: what it is, for the progress bar.

    Raises what `work` raises in one of them, and TrainingError if a process ends before its work; the other processes
    are ended, and what they have is kept for the next time.
    """
    context = get_context("spawn")
    messages: Any = context.Queue()
    settings = with_share_of_threads(workspace.settings)
    waiting, running, steps = list(networks), dict[str, BaseProcess](), dict[str, tuple[int, int, str]]()
    with workspace.console.progress(doing) as progress, _ended(running):
        while waiting or running:
            while waiting and len(running) < workspace.settings.training_processes:
                network = waiting.pop(0)
                options = (workspace.run_dir.root, settings, workspace.dataset, network, work, messages)
                running[network.title] = process = context.Process(target=_do, args=options, daemon=True)
                process.start()
            for title, kind, content in _received(messages, running):
                match kind:
                    case "done":
                        running.pop(title).join()
                    case "failed":
                        raise content
                    case "progress":
                        steps[title] = content
                        _show(steps, len(networks), progress)
                    case _:
                        getattr(workspace.console, kind)(*content)


def with_share_of_threads(settings: Settings) -> Settings:
    """The settings of one of the processes. Neither of the two changes what a phase depends on."""
    threads = max(1, (settings.training_threads or usable_cores()) // settings.training_processes)
    return settings.model_copy(update={"training_threads": threads, "training_processes": 1})


def _received(messages: Any, running: dict[str, BaseProcess]) -> Iterator[tuple[str, str, Any]]:
    """The messages that there are, or the next one. Raises TrainingError if a process ended without its last one."""
    ended = [title for title, process in running.items() if process.exitcode is not None]
    try:
        yield messages.get(timeout=1.0)
        while True:
            yield messages.get_nowait()
    except queue.Empty:
        for title in ended:  # before the messages were read, so none of its own can be missing
            if title in running:
                raise TrainingError(
                    f"The process that trained {title} ended (exit code {running[title].exitcode}), which often means "
                    "that memory ran out. Run the same command again; --training-processes 1 needs the least."
                ) from None


def _show(steps: dict[str, tuple[int, int, str]], count: int, progress: ProgressUpdate) -> None:
    """All networks as one bar: they have the same number of steps."""
    done, total = sum(done for done, _, _ in steps.values()), max(total for _, total, _ in steps.values())
    progress(done, total * count, ", ".join(f"{title} {text}" for title, (_, _, text) in steps.items()))


@contextlib.contextmanager
def _ended(running: dict[str, BaseProcess]) -> Iterator[None]:
    """End the processes that are left, however the body ends."""
    try:
        yield
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


class _RemoteConsole(RunConsole):
    """Messages go to the process that started this one."""

    def __init__(self, title: str, messages: Any) -> None:
        super().__init__(quiet=True)
        self._title, self._messages = title, messages

    def send(self, kind: str, content: Any = None) -> None:
        self._messages.put((self._title, kind, content))

    def phase(self, name: str, text: str = "") -> None:
        self.send("phase", (name, text))

    def say(self, text: str) -> None:
        self.send("say", (text,))

    def warn(self, text: str) -> None:
        self.send("warn", (text,))

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[ProgressUpdate]:
        last = -REPORT_EVERY_S

        def update(done: int, total: int, text: str = "") -> None:
            nonlocal last
            if done == total or time.monotonic() - last >= REPORT_EVERY_S:
                last = time.monotonic()
                self.send("progress", (done, total, text))

        yield update


def _do(root: Path, settings: Settings, dataset: Any, network: RunNetwork, work: Work, messages: Any) -> None:
    """In the new process. The data set is the parent's, which has said what it found in it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, and says how to go on
    threading.Thread(target=_end_with_parent, daemon=True).start()
    console = _RemoteConsole(network.title, messages)
    workspace = Workspace(RunDir(root), settings, console)
    vars(workspace)["dataset"] = dataset
    try:
        work(workspace, network)
        console.send("done")
    except EfficientFormerError as error:
        console.send("failed", error)


def _end_with_parent() -> None:
    """A parent that was killed ends nothing, and two trainings of a network would write the same files."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
