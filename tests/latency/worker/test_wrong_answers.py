"""Workers that answer wrongly, too much, too late or nothing: one line, the process ended, no hang."""

import json
import os
import subprocess
import sys
import time

import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.prepared import Calls
from efficientformer.latency.worker import connection as connection_module
from efficientformer.latency.worker.connection import Connection, WorkerDiedError
from efficientformer.latency.worker.patience import Patience
from efficientformer.latency.worker.runtime import WorkerRuntime
from efficientformer.latency.worker.source import PYTHON_CODE

from .conftest import SHAPE, transport

RUNTIME = {"name": "onnxruntime", "version": "1", "compute_unit": "abacus", "precision": "fp32", "options": {}}
MACHINE = {"cpu": "abacus", "cores": 1, "os": "none"}
HELLO = {"machine": MACHINE, "runtime": RUNTIME, "suffixes": [".onnx"]}
GOOD = {
    "hello": HELLO,
    "conditions": {"load": 0.1},
    "open": {"memory_mib": None},
    "sample": {"ms": 1.5},
    "output": {"dtype": "<f4", "shape": [0]},
}
WORKER = """
import json, os, sys, time
read, out = sys.stdin.buffer, sys.stdout.buffer
read.readline(); read.read(int(read.readline()))
answers, wrong, action = json.loads({answers!r}), {wrong!r}, {action!r}
for line in read:
    request = json.loads(line)
    read.read(request["bytes"])
    if request["op"] == wrong:
        number = request.get("number", 0)
        exec(action)
    answer = dict(answers.get(request["op"], {{}}), number=request.get("number"))
    answer.setdefault("bytes", 0)
    out.write(json.dumps(answer).encode() + b"\\n"); out.flush()
"""


def worker(wrong="", action="pass", **answers):
    code = WORKER.format(answers=json.dumps({**GOOD, **answers}), wrong=wrong, action=action)
    return transport(sys.executable, "-c", code)


def printing(line):
    """An action that answers with a line of its own, given as an expression."""
    return f"out.write({line}); out.flush(); time.sleep(600)"


def check_refused(op, told, transport_, fields=None):
    started = time.monotonic()
    connection = None
    with pytest.raises(WorkerDiedError, match=told) as error:
        connection = Connection(transport_, "onnxruntime", 1)
        connection.ask(op, fields or {})
    assert "\n" not in str(error.value) and len(str(error.value)) < 2500
    assert time.monotonic() - started < 30
    if connection is not None:
        assert connection._process.wait(5) is not None
        connection.abandon()


def test_the_worker_of_these_tests_is_a_worker(onnx_file):
    runtime = WorkerRuntime(worker(), "onnxruntime")
    network = runtime.open(onnx_file, SHAPE)
    assert network.sample(Calls(1, 1), "cpu") == 1.5 and network.output().shape == (0,)
    assert runtime.conditions() == {"load": 0.1}
    runtime.close()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('b\'{"bytes": 1000000000000000000, "number": %d}\\n\' % number', "1000000000000000000 bytes are announced"),
        ('b\'{"bytes": -1, "number": %d}\\n\' % number', "not a message"),
        ('b\'{"bytes": true, "number": %d}\\n\' % number', "not a message"),
        ('b\'{"bytes": 1e3, "number": %d}\\n\' % number', "not a message"),
        ("b'[]\\n'", "no JSON object"),
        ("b'[' * 100000 + b'\\n'", "no JSON"),
        ('b\'{"bytes": \' + b"9" * 5000 + b"}\\n"', "no JSON"),
        ("b'x' * (3 << 20)", "a line without an end"),
        ("b'Segmentation fault\\n'", "no JSON"),
        ("b'\\x1b[2J\\xff\\n'", r"no JSON: b'\\x1b\[2J"),
        ("b'{\"bytes\": 0}\\n'", "an answer to request None, not to 1"),
        ('b\'{"bytes": 0, "number": 7}\\n\'', "an answer to request 7, not to 1"),
        ('b\'{"bytes": 4, "number": %d}\\nabcd\' % number', "4 bytes that nobody asked for"),
    ],
)
def test_lines_that_are_no_answer_end_the_worker(line, told):
    check_refused("conditions", f"sent an invalid answer: .*{told}", worker("conditions", printing(line)))


@pytest.mark.parametrize(
    ("op", "answer", "told"),
    [
        *(("sample", {"ms": ms}, "a latency of") for ms in (-1.5, 0, None, "3", [1.5], True, 10**400)),
        ("sample", {"ms": float("nan")}, "a latency of nan ms"),
        ("sample", {"ms": float("inf")}, "a latency of inf ms"),
        ("sample", {}, "a latency of None ms"),
        ("open", {}, "a memory of"),
        ("open", {"memory_mib": -3}, "a memory of -3 MiB"),
        ("has", {"has": "yes", "path": "x"}, "not whether it has a file"),
        ("has", {"has": True, "path": 3}, "not whether it has a file"),
        ("output", {"dtype": "O", "shape": [1]}, "an output of type 'O'"),
        ("output", {"dtype": "<f4", "shape": [-1]}, "an output of shape"),
        ("output", {"dtype": "<f4", "shape": [2, 3]}, "an output of 0 bytes for 24"),
        ("output", {"dtype": "<f4", "shape": 3}, "an output of shape 3"),
        ("conditions", {"load": float("nan")}, "no finite number"),
        ("hello", {**HELLO, "machine": []}, 'no "machine"'),
        ("hello", {**HELLO, "machine": {**MACHINE, "cores": "many"}}, "cores are no number"),
        ("hello", {**HELLO, "machine": {**MACHINE, "cpu": "\x1b[31mred"}}, "control characters"),
        ("hello", {**HELLO, "machine": {**MACHINE, "cpu": "\ud800"}}, "control characters"),
        ("hello", {**HELLO, "runtime": {**RUNTIME, "options": {"a": float("inf")}}}, "no finite number"),
        ("hello", {**HELLO, "runtime": {**RUNTIME, "version": 3}}, "is no text"),
        ("hello", {**HELLO, "runtime": {**RUNTIME, "options": {"a": [[[[[[[[[1]]]]]]]]]}}}, "nested more than"),
        ("hello", {**HELLO, "suffixes": "onnx"}, 'no "suffixes"'),
    ],
)
def test_answers_of_the_wrong_shape_end_the_worker(op, answer, told):
    check_refused(op, f"sent an invalid answer: to '{op}', .*{told}", worker(**{op: answer}))


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("sys.stderr.write('noise\\n' * 2000000); sys.exit(4)", r"ended with exit code 4 \(its last output: noise"),
        (
            "print('x' * 5000, file=sys.stderr); print('\\x1b[2J', file=sys.stderr); sys.exit(4)",
            r"x\.\.\. \| \\x1b\[2J",
        ),
        ("os.close(1); sys.exit(5)", "ended with exit code 5"),
        ("[out.write(b'flood\\n') for _ in iter(int, 1)]", "no JSON"),
    ],
)
def test_noise_and_ends_are_one_line(action, told):
    check_refused("conditions", told, worker("conditions", action))


def test_noise_on_stderr_is_no_fault(onnx_file):
    """More than a pipe holds, and more than is kept."""
    runtime = WorkerRuntime(worker("sample", "sys.stderr.write('noise\\n' * 100000)"), "onnxruntime")
    assert runtime.open(onnx_file, SHAPE).sample(Calls(1, 1), "cpu") == 1.5
    runtime.close()


def test_an_error_is_text_of_one_line_whatever_it_is():
    for error in ({"a": 1}, None, "x" * 100_000, "first\n\x1b[31msecond"):
        connection = Connection(worker(conditions={"error": error}), "onnxruntime", 1)
        with pytest.raises(LatencyError) as raised:
            connection.ask("conditions", {})
        assert len(str(raised.value)) < 2100 and str(raised.value).isprintable()
        connection.close()


def test_each_request_has_its_limit(monkeypatch):
    """Only what may compile, or runs the network, may take long."""
    limits = []
    watched = Connection._watched
    monkeypatch.setattr(Connection, "_watched", lambda self, limit_s: limits.append(limit_s) or watched(self, limit_s))
    connection = Connection(worker(has={"has": True, "path": "x"}), "onnxruntime", 1)
    for op in ("conditions", "has", "close", "open", "sample", "output"):
        connection.ask(op, {})
    connection.close()
    assert limits == [180, 60, 60, 60, 600, 600, 600, 10]


def test_silence_is_waited_for_twice_and_not_four_times(monkeypatch, tmp_path, onnx_file):
    monkeypatch.setitem(connection_module.TIMEOUTS_S, "sample", 1.0)
    monkeypatch.setattr(Patience, "limit_s", 1.0)
    starts = tmp_path / "starts"
    silent = worker("sample", f"open({str(starts)!r}, 'a').write('x'); time.sleep(600)")
    runtime = WorkerRuntime(silent, "onnxruntime", reconnect_after_s=(0.0, 0.0, 0.0))
    network = runtime.open(onnx_file, SHAPE)
    with pytest.raises(LatencyError, match=r"did not answer within 1 s and was ended.* while .* was timed"):
        network.sample(Calls(1, 1), "cpu")
    assert starts.read_text() == "xx"
    runtime.close()


def test_once_a_sample_was_taken_the_next_is_not_waited_for_ten_minutes():
    patience = Patience()
    assert patience.limit_s == 600
    with patience.for_sample() as limit_s:
        assert limit_s == 600
    assert patience.limit_s == 60
    patience._longest_s = 10.0
    assert patience.limit_s == 200
    patience._longest_s = 300.0
    assert patience.limit_s == 600
    with pytest.raises(LatencyError), patience.for_sample():
        raise LatencyError("A sample that failed says nothing about the next one.")
    assert patience._longest_s == 300.0


def test_files_of_the_current_folder_are_not_imported(tmp_path):
    """A run directory of someone else's may be the current folder, and have a `numpy.py`."""
    (tmp_path / "numpy.py").write_text("open('canary', 'w')")
    (tmp_path / "json.py").write_text("open('canary', 'w')")
    script = (
        "from efficientformer.latency.worker.connection import Connection, Transport\n"
        f"transport = Transport(({sys.executable!r}, '-c', {PYTHON_CODE!r}), 'w', shares_files=True, remedy='')\n"
        "Connection(transport, 'onnxruntime', 1).close()\n"
    )
    path = tmp_path.parent / f"{tmp_path.name}.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONSAFEPATH": ""}
    done = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "canary").exists()
