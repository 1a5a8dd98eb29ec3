"""This side of one worker process: sends requests, waits for answers, and reports how a worker died."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from efficientformer.errors import LatencyError
from efficientformer.latency.worker.messages import Payload, receive, send, send_header
from efficientformer.latency.worker.source import opening_bytes

START_TIMEOUT_S = 180.0
ANSWER_TIMEOUT_S = 600.0
CLOSE_TIMEOUT_S = 10.0
# A file that comes through slower than this is taken for a connection that hangs.
SLOWEST_BYTES_PER_S = 50_000.0
NUM_LAST_LINES = 8
# Login shells may greet before the worker answers for the first time.
MAX_GREETING_LINES = 200
CONNECTION_LOST = 255
NO_SUCH_PROGRAM = 127
SIGNAL_BASE = 128


class WorkerDiedError(LatencyError):
    """A worker that ended, hung or sent an invalid answer. `lost`: the connection broke, so the network did not cause
    it."""

    def __init__(self, text: str, *, lost: bool = False) -> None:
        super().__init__(text)
        self.lost = lost


@dataclass(frozen=True)
class Transport:
    """How a worker is started: `argv` runs Python on `PYTHON_CODE`, `where` names it in messages.

    `shares_files`: the worker reads this machine's files. `remedy`: what to try when it does not start. `cores`: those
    it may use, on systems that report them.
    """

    argv: tuple[str, ...]
    where: str
    shares_files: bool
    remedy: str
    environment: Mapping[str, str] | None = None
    cores: frozenset[int] | None = field(default_factory=lambda: _allowed_cores())


class Connection:
    """A running worker with the runtime opened. Raises LatencyError when it cannot be started."""

    def __init__(self, transport: Transport, runtime: str, threads: int) -> None:
        self._where = transport.where
        self._is_remote = not transport.shares_files
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the worker)
        self._has_timed_out = False
        self._said: list[bytes] = []
        self._process = self._start(transport)
        self._requests = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        try:
            with self._watched(START_TIMEOUT_S):
                with contextlib.suppress(BrokenPipeError):  # What it printed before it ended is read below.
                    self._requests.write(opening_bytes())
                    send(self._requests, {"op": "hello", "runtime": runtime, "threads": threads})
                self.hello = self._greeting()
        except LatencyError:
            self._end()
            raise

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, op: str, fields: Mapping[str, Any], timeout_s: float = ANSWER_TIMEOUT_S
    ) -> tuple[dict[str, Any], bytes]:
        """The answer and its bytes. Raises WorkerDiedError, and LatencyError for an error that the worker answers."""
        with self._watched(timeout_s):
            send(self._requests, {"op": op, **fields})
            answer, payload = receive(self._answers)
        return _checked(answer), payload

    def put(self, path: Path, fields: Mapping[str, Any]) -> None:
        """Send a file's bytes. Raises as `ask` does."""
        num_bytes = path.stat().st_size
        with self._watched(ANSWER_TIMEOUT_S + num_bytes / SLOWEST_BYTES_PER_S), path.open("rb") as file:
            send_header(self._requests, {"op": "put", **fields}, num_bytes)
            Payload(file, num_bytes).copy_to(self._requests)
            self._requests.flush()
            answer, _ = receive(self._answers)
        _checked(answer)

    def close(self) -> None:
        """Let the worker clean up and end, or end it."""
        with contextlib.suppress(LatencyError):
            self.ask("bye", {}, CLOSE_TIMEOUT_S)
        self._end()

    def abandon(self) -> None:
        """End the worker at once; files that it received stay for the next one."""
        self._kill()
        self._end()

    def _start(self, transport: Transport) -> subprocess.Popen[bytes]:
        try:
            # This thread may be pinned to one core for timing; a worker started then may use all cores anyway.
            with _on_cores(transport.cores):
                return subprocess.Popen(
                    transport.argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._stderr,
                    env=transport.environment,
                    start_new_session=True,
                )
        except OSError as error:
            self._stderr.close()
            raise LatencyError(
                f"{self._where} cannot be started: {transport.argv[0]}: {error.strerror or error}. "
                "Check that the program is installed and can be run."
            ) from error

    def _greeting(self) -> dict[str, Any]:
        """The answer to the first request, after any output of a login shell."""
        while len(self._said) < MAX_GREETING_LINES:
            line = self._answers.readline()
            if not line:
                raise EOFError
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, dict) and "bytes" in answer:
                    self._said.clear()
                    return _checked(answer, self._where)
            self._said.append(line)
        raise ValueError(repr(self._said[-1]))

    @contextlib.contextmanager
    def _watched(self, timeout_s: float) -> Iterator[None]:
        """End a worker that does not answer in time; raise `WorkerDiedError` for every failure."""
        watchdog = threading.Timer(timeout_s, self._give_up)
        watchdog.start()
        try:
            yield
        except (EOFError, OSError) as error:
            raise self._failure(timeout_s) from error
        except ValueError as error:
            self._kill()
            raise WorkerDiedError(f"{self._where} sent an invalid answer: {error}") from error
        except KeyboardInterrupt:
            self._kill()  # An answer may be half read, so nothing more can be asked.
            raise
        finally:
            watchdog.cancel()

    def _give_up(self) -> None:
        self._has_timed_out = True
        self._kill()

    def _kill(self) -> None:
        """End the worker and what it started: a child that keeps the pipe open would keep us waiting."""
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _failure(self, timeout_s: float) -> WorkerDiedError:
        try:
            code = self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._process.wait()
        lost = self._is_remote and not self._has_timed_out and (code == CONNECTION_LOST or code < 0)
        if self._has_timed_out:
            how = f"did not answer within {timeout_s:.0f} s and was ended"
        elif lost:
            how = "lost its connection"
        else:
            how = _ending(code)
        last = self._last_lines()
        return WorkerDiedError(f"{self._where} {how}" + (f" (its last output: {last})" if last else ""), lost=lost)

    def _last_lines(self) -> str:
        self._stderr.seek(0)
        lines = (b"".join(self._said) + self._stderr.read()).decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-NUM_LAST_LINES:] if line.strip())

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._answers.close()
        self._stderr.close()


def _checked(answer: dict[str, Any], where: str | None = None) -> dict[str, Any]:
    if "error" in answer:
        raise LatencyError(answer["error"] if where is None else f"{where}: {answer['error']}")
    return {name: value for name, value in answer.items() if name != "bytes"}


def _ending(code: int) -> str:
    number = -code if code < 0 else code - SIGNAL_BASE
    if number > 0:
        with contextlib.suppress(ValueError):
            return f"was ended by signal {signal.Signals(number).name}"
    if code == NO_SUCH_PROGRAM:
        return "found no such Python"
    return f"ended with exit code {code}"


def _allowed_cores() -> frozenset[int] | None:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@contextlib.contextmanager
def _on_cores(cores: frozenset[int] | None) -> Iterator[None]:
    """Let this thread, and a process that it starts, use `cores`; where that is forbidden, nothing happens."""
    before = _allowed_cores()
    if cores is None or before is None or before == cores:
        yield
        return
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)
