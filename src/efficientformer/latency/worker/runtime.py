"""A runtime whose networks run in a worker: exported here, opened there, opened again when the worker died.

A network that brings the worker down while it is opened is an error of its own, and the next one gets a new worker. A
worker that is lost while networks are timed is replaced a few times before the measurement fails.
"""

import itertools
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.files import existing_file
from efficientformer.exporting.formats.open import format_of
from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls
from efficientformer.latency.worker.connection import Connection, Transport, WorkerDiedError
from efficientformer.latency.worker.files import files_of
from efficientformer.latency.worker.packages import PACKAGES
from efficientformer.latency.worker.patience import Patience
from efficientformer.leftovers import temporary_folder
from efficientformer.provenance import differences
from efficientformer.records import digest, file_digest

if TYPE_CHECKING:
    from torch import nn

WARMUP_CALLS = 5
"""Before the first sample of a network in a worker that replaced another."""
RECONNECT_AFTER_S = (0.5, 5.0, 30.0)
CANNOT_RUN = "The runtime {} cannot run this network: leave it out, or choose another runtime."
Result = TypeVar("Result")


class WorkerNetwork:
    """A network opened in a worker; its files stay on this side as well, to open it again.

    `display_path` is the file that the user knows, `path` the one that the worker opens, which may be converted from
    it.
    """

    def __init__(
        self, runtime: "WorkerRuntime", number: int, display_path: Path, path: Path, input_shape: tuple[int, ...]
    ):
        self._runtime = runtime
        self.number = number
        self.display_path = display_path
        self.path = path
        self.input_shape = input_shape
        self.memory_mib: float | None = None
        self._patience = Patience()

    def sample(self, calls: Calls, clock: Clock) -> float:
        with self._patience.for_sample() as limit_s:
            answer, _ = self._runtime.ask(
                self,
                "sample",
                lambda warmup: {"settling": calls.settling + warmup, "timed": calls.timed, "clock": clock},
                limit_s,
            )
        return answer["ms"]

    def output(self) -> np.ndarray:
        answer, payload = self._runtime.ask(self, "output", lambda _: {})
        return np.frombuffer(payload, answer["dtype"]).reshape(answer["shape"])


class WorkerRuntime:
    """The runtime called `name`, with `threads` threads, where `transport` leads.

    `converter_python` makes files for LiteRT, see `exporting.formats.litert`. A lost worker is replaced after the
    pauses given. Raises UsageError for a runtime that needs PyTorch, LatencyError for a worker that does not start,
    whose Python is too old or lacks the runtime's package.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        threads: int = 1,
        *,
        converter_python: str | None = None,
        reconnect_after_s: Sequence[float] = RECONNECT_AFTER_S,
    ) -> None:
        if name not in PACKAGES:
            raise UsageError(f"A worker runs {', '.join(PACKAGES)}; the runtime {name!r} runs on this machine only.")
        self.name = name
        self.threads = threads
        self._transport = transport
        self._format = format_of(name, converter_python)
        self._reconnect_after_s = tuple(reconnect_after_s)
        self._connection: Connection | None = None
        self._opened: set[int] = set()
        self._unused: list[int] = []
        self._numbers = itertools.count()
        folder = temporary_folder()
        self._folder = Path(folder.name)
        self._holder: list[Connection] = []
        self.close = weakref.finalize(self, _close, self._holder, folder)
        try:
            self._hello = self._connected().hello
        except WorkerDiedError as died:
            self.close()
            raise LatencyError(f"{died}. {transport.remedy}") from died
        except BaseException:
            self.close()
            raise

    @property
    def suffixes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._format.suffixes, *self._hello["suffixes"])))

    def describe(self) -> dict[str, Any]:
        described = self._hello["runtime"]
        return {**described, "options": {**described["options"], **self._format.options}}

    def machine(self) -> dict[str, Any]:
        return self._hello["machine"]

    def conditions(self) -> dict[str, Any]:
        """Conditions where the worker runs, see `latency.conditions`."""
        return self._persist(
            lambda: self._connected().ask("conditions", {})[0],
            lambda died: True,
            lambda died: f"{died}. {self._transport.remedy}",
        )

    def restart(self) -> None:
        """End the worker. Networks stay usable: a new process opens them again when they are next sampled."""
        self._drop()

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> WorkerNetwork:
        number = next(self._numbers)
        path = self._format.write(module, input_shape, self._own_folder(number))
        return self._open(number, path, input_shape)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> WorkerNetwork:
        path = existing_file(Path(path).absolute(), self.suffixes)
        return self._open(next(self._numbers), path, input_shape)

    def ask(
        self,
        network: WorkerNetwork,
        op: str,
        fields: Callable[[int], dict[str, Any]],
        timeout_s: float | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request about a network, which a new worker opens first; `fields` takes the number of warm-up
        calls."""

        def attempt() -> tuple[dict[str, Any], bytes]:
            warmup = 0 if network.number in self._opened else WARMUP_CALLS
            return self._with(network).ask(op, {"id": network.number, **fields(warmup)}, timeout_s)

        return self._persist(
            attempt,
            lambda died: True,
            lambda died: (
                f"{died} while {network.display_path} was timed. See that it runs and can be reached, and run the "
                "same command again: finished rounds are kept."
            ),
        )

    def _open(self, number: int, path: Path, input_shape: tuple[int, ...]) -> WorkerNetwork:
        lowered = self._format.lower(path, input_shape, self._own_folder(number))
        network = WorkerNetwork(self, number, path, lowered, tuple(input_shape))
        weakref.finalize(network, self._unused.append, number).atexit = False
        self._persist(
            lambda: self._with(network),
            lambda died: died.lost,
            lambda died: (
                f"{died} while it opened {path}. "
                + ("Run the same command again." if died.lost else CANNOT_RUN.format(self.name))
            ),
        )
        if lowered != path:
            self._format.check(path, network.input_shape, network.output())
        return network

    def _persist(
        self,
        attempt: Callable[[], Result],
        may_retry: Callable[[WorkerDiedError], bool],
        failure_message: Callable[[WorkerDiedError], str],
    ) -> Result:
        """Try again on a new worker, after growing pauses, while `may_retry` is true; once if it does not answer."""
        pauses, has_timed_out = iter(self._reconnect_after_s), False
        while True:
            try:
                return attempt()
            except WorkerDiedError as died:
                self._drop()
                pause = next(pauses, None) if may_retry(died) and not (died.timed_out and has_timed_out) else None
                has_timed_out |= died.timed_out
                if pause is None:
                    raise LatencyError(failure_message(died)) from died
                time.sleep(pause)

    def _with(self, network: WorkerNetwork) -> Connection:
        """A worker that has the network open."""
        connection = self._connected()
        self._release_unused(connection)
        if network.number not in self._opened:
            path = self._far_path(connection, network.path)
            try:
                answer, _ = connection.ask(
                    "open", {"id": network.number, "path": path, "input_shape": network.input_shape}
                )
            except LatencyError as error:
                if isinstance(error, WorkerDiedError):
                    raise
                raise LatencyError(str(error).replace(path, str(network.display_path))) from error
            network.memory_mib = answer["memory_mib"]
            self._opened.add(network.number)
        return connection

    def _far_path(self, connection: Connection, path: Path) -> str:
        """Where the worker finds the file, which is sent unless it is there already."""
        if self._transport.shares_files:
            return str(path)
        files = files_of(path)
        digests = [file_digest(file) for file in files]
        folder = digest(digests)
        paths = []
        for file, content in zip(files, digests, strict=True):
            place = {"folder": folder, "name": file.name, "digest": content}
            answer, _ = connection.ask("has", place)
            if not answer["has"]:
                connection.put(file, place)
            paths.append(answer["path"])
        return paths[0]

    def _connected(self) -> Connection:
        if not self.close.alive:
            raise LatencyError(f"{self._transport.where} has been closed.")
        if self._connection is not None and not self._connection.is_alive:
            self._drop()  # It ended between two requests, so neither of them is to blame.
        if self._connection is None:
            connection = Connection(self._transport, self.name, self.threads)
            self._holder.append(connection)
            self._connection = connection
            self._check_same(connection.hello)
        return self._connection

    def _check_same(self, hello: Mapping[str, Any]) -> None:
        first = getattr(self, "_hello", hello)
        changed = differences(first["machine"], hello["machine"])
        if changed or first["runtime"] != hello["runtime"]:
            self._drop()
            raise LatencyError(
                f"{self._transport.where} is not what it was when the measurement began: "
                f"{'; '.join(changed) or 'its runtime has changed'}. Begin the measurement anew."
            )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abandon()
        self._connection = None
        self._holder.clear()
        self._opened.clear()

    def _release_unused(self, connection: Connection) -> None:
        while self._unused:
            number = self._unused.pop()
            shutil.rmtree(self._folder / str(number), ignore_errors=True)
            if number in self._opened:
                self._opened.discard(number)
                connection.ask("close", {"id": number})

    def _own_folder(self, number: int) -> Path:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        return folder


def _close(connections: list[Connection], folder: "tempfile.TemporaryDirectory[str]") -> None:
    for connection in connections:
        connection.close()
    connections.clear()
    folder.cleanup()
