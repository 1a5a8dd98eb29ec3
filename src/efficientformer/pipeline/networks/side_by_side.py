"""Train the networks of a run at the same time, each in a process of its own.

A step of a small network has too little work for several threads, so two networks side by side on two cores take little
more time than one. Each process has its share of the threads, whatever the others do: a run that was interrupted ends
with the same bits as one that was not.

The processes are programs of this package (`one_of_several`) rather than of `multiprocessing`, which would run the
user's script again in each of them, and forbid them processes that load images.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from efficientformer.errors import TerminatedError, TrainingError
from efficientformer.pipeline.networks.one_of_several import Message, Request, Work
from efficientformer.pipeline.run.console import ProgressUpdate, usable_cores
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.training.termination import termination

LOOK_EVERY_S = 0.2
PROGRAM = "from efficientformer.pipeline.networks.one_of_several import main; main()"


def side_by_side(workspace: Workspace, networks: Sequence[RunNetwork], work: Work, *, doing: str) -> None:
    """Do `work` for every network in a process of its own, `training_processes` of them at a time.

    doing: what it is, for the progress bar.

    Raises what `work` raises in one of them, TrainingError if a process cannot start or ends before its work, and
    TerminatedError for SIGTERM; the other processes are ended, after their step if they train, and what they have is
    kept for the next time.
    """
    if not networks:
        return
    messages: queue.SimpleQueue[tuple[str, Message]] = queue.SimpleQueue()
    settings = with_share_of_threads(workspace.settings)
    waiting, running, steps = list(networks), dict[str, _Process](), dict[str, tuple[int, int, str]]()
    with termination() as is_terminated, workspace.console.progress(doing) as progress, _ended(running):
        while waiting or running:
            while waiting and len(running) < workspace.settings.training_processes:
                network = waiting.pop(0)
                running[network.title] = process = _Process(network.title, messages)
                process.ask(Request(workspace.run_dir.root, settings, workspace.dataset, network, work))
            title, (kind, content) = _next(messages, is_terminated)
            match kind:
                case "done":
                    running.pop(title).end()
                case "failed":
                    raise content
                case "ended":
                    if title in running:
                        raise TrainingError(_ended_early(title, content))
                case "progress":
                    steps[title] = content
                    _show(steps, len(networks), progress)
                case _:
                    getattr(workspace.console, kind)(*content)


def _next(messages: "queue.SimpleQueue[tuple[str, Message]]", is_terminated: Callable[[], bool]) -> tuple[str, Message]:
    while not is_terminated():
        with contextlib.suppress(queue.Empty):
            return messages.get(timeout=LOOK_EVERY_S)
    raise TerminatedError("Terminated. Run the same command again to go on from the checkpoints.")


def with_share_of_threads(settings: Settings) -> Settings:
    """The settings of one of the processes. Neither of the two changes what a phase depends on."""
    threads = max(1, (settings.training_threads or usable_cores()) // settings.training_processes)
    return settings.model_copy(update={"training_threads": threads, "training_processes": 1})


def _ended_early(title: str, exit_code: int) -> str:
    if exit_code >= 0:
        return f"The process that trained {title} ended (exit code {exit_code}); its own error stands above."
    return (
        f"The process that trained {title} was killed ({signal.Signals(-exit_code).name}), which often means that "
        "memory ran out. Run the same command again; --training-processes 1 needs the least."
    )


def _show(steps: dict[str, tuple[int, int, str]], count: int, progress: ProgressUpdate) -> None:
    """All networks as one bar: they have the same number of steps."""
    done, total = sum(done for done, _, _ in steps.values()), max(total for _, total, _ in steps.values())
    progress(done, total * count, ", ".join(f"{title} {text}" for title, (_, _, text) in steps.items()))


class _Process:
    """One of the processes. In a session of its own: Ctrl-C is for this process, which ends the others."""

    def __init__(self, title: str, messages: "queue.SimpleQueue[tuple[str, Message]]") -> None:
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": paths},
                start_new_session=True,
            )
        except OSError as error:
            raise TrainingError(
                f"The process that trains {title} cannot start ({error.strerror}). Run the same command again with "
                "--training-processes 1."
            ) from error
        threading.Thread(target=self._listen, args=(title, messages), daemon=True).start()

    def ask(self, request: Request) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended, and `_listen` says so
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _listen(self, title: str, messages: "queue.SimpleQueue[tuple[str, Message]]") -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers, contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                messages.put((title, pickle.load(answers)))
        messages.put((title, ("ended", self._process.wait())))


@contextlib.contextmanager
def _ended(running: dict[str, _Process]) -> Iterator[None]:
    """End the processes that are left, however the body ends."""
    try:
        yield
    finally:
        for process in running.values():
            process.end()
