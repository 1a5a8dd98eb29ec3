"""What becomes of a worker, told in words."""

import os
import signal
import sys
import threading

import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.worker.connection import Connection, WorkerDiedError
from efficientformer.latency.worker.source import PYTHON_CODE

from .conftest import transport

GREETS = "import sys;print('Welcome to the board.');print('{\"mail\": 3}', flush=True);"
READS = "import sys,time;read=sys.stdin.buffer;read.readline();read.read(int(read.readline()));"
HELLO = READS + 'print(\'{"bytes": 0, "machine": {}}\', flush=True);'


@pytest.fixture
def connection():
    connection = Connection(transport(), "onnxruntime", 1)
    yield connection
    connection.close()


def pid_of(connection):
    return connection._process.pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_worker_ended_by_a_signal_is_a_crash(connection, number):
    os.kill(pid_of(connection), number)
    with pytest.raises(WorkerDiedError, match=f"The worker was ended by signal {number.name}") as died:
        connection.ask("conditions", {})
    assert not died.value.lost


def test_a_worker_that_hangs_is_ended(connection):
    os.kill(pid_of(connection), signal.SIGSTOP)
    with pytest.raises(WorkerDiedError, match="did not answer within 1 s and was ended"):
        connection.ask("conditions", {}, timeout_s=1.0)
    assert connection._process.poll() == -signal.SIGKILL


def test_errors_of_the_far_side_are_answers_and_the_worker_lives_on(connection):
    for _ in range(2):
        with pytest.raises(LatencyError, match="KeyError") as error:
            connection.ask("sample", {"id": 5, "settling": 0, "timed": 1, "clock": "cpu"})
        assert not isinstance(error.value, WorkerDiedError)
    assert "load" in connection.ask("conditions", {})[0]


def test_a_greeting_is_passed_over():
    connection = Connection(transport(sys.executable, "-c", GREETS + PYTHON_CODE), "onnxruntime", 1)
    assert connection.hello["runtime"]["name"] == "onnxruntime"
    connection.close()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (GREETS + "sys.exit(3)", r"ended with exit code 3 \(its last output: Welcome to the board\. \| "),
        ("raise OSError('no disk')", r"ended with exit code 1 .*OSError: no disk"),
        ("import os;os.abort()", "was ended by signal SIGABRT"),
        ("for _ in range(1000): print('y')", "sent an invalid answer: b'y"),
        (HELLO + "print('Hello?', flush=True);time.sleep(60)", "sent an invalid answer"),
    ],
)
def test_what_is_no_worker_is_told_with_its_last_words(program, told):
    with pytest.raises(WorkerDiedError, match=told):
        connection = Connection(transport(sys.executable, "-c", program), "onnxruntime", 1)
        try:
            connection.ask("conditions", {})
        finally:
            connection.close()


def test_a_program_that_cannot_be_started_is_named(tmp_path):
    with pytest.raises(LatencyError, match=r"cannot be started: .*/nothing: No such file"):
        Connection(transport(str(tmp_path / "nothing")), "onnxruntime", 1)


def test_children_that_keep_the_pipe_open_do_not_keep_us_waiting():
    shell = f"{sys.executable} -c '{PYTHON_CODE}'; true"
    connection = Connection(transport("sh", "-c", shell), "onnxruntime", 1)
    os.killpg(pid_of(connection), signal.SIGSTOP)
    with pytest.raises(WorkerDiedError, match="did not answer within 1 s"):
        connection.ask("conditions", {}, timeout_s=1.0)
    connection.close()


def test_closing_ends_the_worker_and_leaves_no_watchdog(connection):
    connection.close()
    assert connection._process.poll() == 0
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    with pytest.raises(LatencyError):
        connection.ask("conditions", {})
