"""This side of one worker process: sends requests, waits for answers, and reports how a worker died."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from efficientformer.errors import LatencyError
from efficientformer.latency.worker.answers import MAX_LINE, answer_problem, parse_object
from efficientformer.latency.worker.messages import Payload, is_length, receive, send, send_header
from efficientformer.latency.worker.output import Tail, last_lines, shown
from efficientformer.latency.worker.source import opening_bytes

START_TIMEOUT_S = 180.0
QUICK_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 10.0
OUTPUT_TIMEOUT_S = 1.0
# Opening a network may compile it, and a slow board may take minutes for an output.
TIMEOUTS_S = {"open": 600.0, "sample": 600.0, "output": 600.0, "bye": CLOSE_TIMEOUT_S}
# A file that comes through slower than this is taken for a connection that hangs.
SLOWEST_BYTES_PER_S = 50_000.0
NUM_LAST_LINES = 8
KEPT_BYTES = 1 << 16
MAX_ERROR = 2000
# Login shells may greet before the worker answers for the first time.
MAX_GREETING_LINES = 200
CONNECTION_LOST = 255
NO_SUCH_PROGRAM = 127
SIGNAL_BASE = 128


class WorkerDiedError(LatencyError):
    """A worker that ended, hung or sent an invalid answer.

    `lost`: the connection broke, so the network did not cause it. `timed_out`: it did not answer in time.
    """

    def __init__(self, text: str, *, lost: bool = False, timed_out: bool = False) -> None:
        super().__init__(text)
        self.lost = lost
        self.timed_out = timed_out


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
        self._has_timed_out = False
        self._said: list[bytes] = []
        self._number = 0
        self._process = self._start(transport)
        self._messages = Tail(cast(BinaryIO, self._process.stderr), KEPT_BYTES)
        self._requests = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        try:
            with self._watched(START_TIMEOUT_S):
                with contextlib.suppress(BrokenPipeError):  # What it printed before it ended is read below.
                    self._requests.write(opening_bytes())
                    send(self._requests, {"op": "hello", "number": 0, "runtime": runtime, "threads": threads})
                self.hello = self._greeting()
        except LatencyError:
            self._end()
            raise

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, op: str, fields: Mapping[str, Any], timeout_s: float | None = None) -> tuple[dict[str, Any], bytes]:
        """The answer and its bytes, checked.

        Raises WorkerDiedError, also for a worker that takes longer than `timeout_s` or answers something else, and
        LatencyError for an error that the worker answers.
        """
        with self._watched(timeout_s or TIMEOUTS_S.get(op, QUICK_TIMEOUT_S)):
            send(self._requests, self._numbered(op, fields))
            return self._answer(op)

    def put(self, path: Path, fields: Mapping[str, Any]) -> None:
        """Send a file's bytes. Raises as `ask` does."""
        num_bytes = path.stat().st_size
        with self._watched(QUICK_TIMEOUT_S + num_bytes / SLOWEST_BYTES_PER_S), path.open("rb") as file:
            send_header(self._requests, self._numbered("put", fields), num_bytes)
            Payload(file, num_bytes).copy_to(self._requests)
            self._requests.flush()
            self._answer("put")

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
                    stderr=subprocess.PIPE,
                    env=transport.environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise LatencyError(
                f"{self._where} cannot be started: {transport.argv[0]}: {error.strerror or error}. "
                "Check that the program is installed and can be run."
            ) from error

    def _greeting(self) -> dict[str, Any]:
        """The answer to the first request, after any output of a login shell."""
        for _ in range(MAX_GREETING_LINES):
            line = self._answers.readline(MAX_LINE)
            if not line:
                raise EOFError
            answer = {}
            with contextlib.suppress(ValueError):
                answer = parse_object(line)
            if is_length(answer.get("bytes")):
                self._said.clear()
                return self._checked("hello", answer, answer["bytes"], self._where)
            self._said = [*self._said, line[:KEPT_BYTES]][-NUM_LAST_LINES:]
        raise ValueError(repr(self._said[-1][:80]))

    def _numbered(self, op: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A request whose number its answer must have: a late answer is not taken for that of another request."""
        self._number += 1
        return {"op": op, "number": self._number, **fields}

    def _answer(self, op: str) -> tuple[dict[str, Any], bytes]:
        answer, payload = receive(self._answers)
        if answer.get("number") != self._number:
            raise ValueError(f"an answer to request {answer.get('number')!r}, not to {self._number}")
        return self._checked(op, answer, len(payload)), payload

    def _checked(self, op: str, answer: dict[str, Any], num_bytes: int, where: str | None = None) -> dict[str, Any]:
        if "error" in answer:
            text = shown(" ".join(str(answer["error"]).split()), MAX_ERROR)
            raise LatencyError(text if where is None else f"{where}: {text}")
        if problem := answer_problem(op, answer, num_bytes):
            raise ValueError(f"to {op!r}, {problem}")
        return {name: value for name, value in answer.items() if name not in ("bytes", "number")}

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
            raise WorkerDiedError(f"{self._where} sent an invalid answer: {shown(str(error))}") from error
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
        text = f"{self._where} {how}" + (f" (its last output: {last})" if last else "")
        return WorkerDiedError(text, lost=lost, timed_out=self._has_timed_out)

    def _last_lines(self) -> str:
        said = b"\n".join(self._said).decode(errors="replace")
        return last_lines(f"{said}\n" + self._messages.text(OUTPUT_TIMEOUT_S), NUM_LAST_LINES, " | ")

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._answers.close()
        self._messages.join(OUTPUT_TIMEOUT_S)


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
