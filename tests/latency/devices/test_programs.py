"""Programs that flood, hang, leave something running or answer in no known way: bounded, timed, one line."""

import json
import shlex
import sys
import time

import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.devices import programs
from efficientformer.latency.devices.adb import AdbDevice
from efficientformer.latency.devices.command import CommandDevice
from efficientformer.latency.devices.phone_benchmarks import BENCHMARKS
from efficientformer.latency.devices.programs import run_program
from efficientformer.latency.prepared import Calls
from tests.latency.devices import fake_adb

SHAPE = (1, 3, 32, 32)
MACHINE = {"cpu": "abacus", "cores": 1, "os": "none"}
RUNTIME = {"name": "beads", "version": "1", "compute_unit": "hand", "precision": "fp32", "options": {}}
DESCRIPTION = {"machine": MACHINE, "runtime": RUNTIME, "format": "onnx", "clock": "wall"}


def python(code, timeout_s=20.0):
    return run_program([sys.executable, "-IS", "-c", code], timeout_s=timeout_s, remedy="")


@pytest.fixture
def described(tmp_path):
    """A device whose program prints this line, for everything but a description."""

    def make(line, description=None):
        path = tmp_path / "program.py"
        printed = json.dumps(DESCRIPTION) if description is None else description
        path.write_text(f"import sys\nprint({printed!r} if '--describe' in sys.argv else {line!r})\n")
        return CommandDevice(f"{shlex.quote(sys.executable)} -IS {shlex.quote(str(path))}")

    return make


def check_one_line(error):
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value) and len(str(error.value)) < 2000


def test_a_flood_is_ended_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(programs, "MAX_OUTPUT", 1 << 20)
    started = time.monotonic()
    with pytest.raises(LatencyError, match="printed more than 1 MiB and was ended") as error:
        python("while True: print('flood ' * 1000)")
    check_one_line(error)
    assert time.monotonic() - started < 15


def test_a_flood_of_messages_keeps_the_last_ones():
    done = python("import sys\nfor i in range(200000): print('noise', i, file=sys.stderr)\nprint('done')")
    assert done.stdout == "done\n" and done.last_words(1) == "noise 199999" and len(done.stderr) <= 1 << 16


def test_the_end_of_a_program_is_not_polled_for(monkeypatch):
    """Popen.wait with a limit sleeps in steps up to 50 ms, which a table pays at every sample."""

    def fail(seconds):
        raise AssertionError(f"slept for {seconds} s")

    monkeypatch.setattr(time, "sleep", fail)
    assert python("import time; time.sleep(0.2); print('done')").stdout == "done\n"


def test_what_a_program_leaves_running_is_not_waited_for():
    started = time.monotonic()
    done = python("import subprocess; subprocess.Popen(['sleep', '300']); print('done', flush=True)")
    assert done.stdout == "done\n" and time.monotonic() - started < 15


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path):
    pid = tmp_path / "pid"
    started = "import subprocess; child = subprocess.Popen(['sleep', '300'])"
    code = f"{started}; open({str(pid)!r}, 'w').write(str(child.pid)); child.wait()"
    with pytest.raises(LatencyError, match="still running after 3 s and was ended"):
        python(code, timeout_s=3.0)
    time.sleep(0.2)
    assert fake_state(int(pid.read_text())) in (None, "Z")


def fake_state(pid):
    """The state of a process as the system has it: None for none."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[" * 100_000, "must end with a line that is one JSON object"),
        ('{"latency_ms": ' + "9" * 5000 + "}", "must end with a line that is one JSON object"),
        ('{"samples_ms": [1.0, 2.0]}', r'printed 2 "samples_ms" for --runs 3'),
        ('{"samples_ms": [1.0, 2.0, 3.0, 4.0]}', r'printed 4 "samples_ms" for --runs 3'),
        ('{"latency_ms": 1' + "0" * 400 + "}", "which is not possible"),
        ('{"latency_ms": 1e999}', "a latency of inf ms"),
        ('{"latency_ms": [1.0]}', r"a latency of \[1\.0\] ms"),
        ('{"samples_ms": [1e308, 1e308, 1e308]}', "a latency of inf ms"),
        ('{"samples_ms": {"0": 1.0}}', 'not "samples_ms"'),
        ("x" * 2_000_000, "must end with a line that is one JSON object"),
    ],
    ids=lambda value: value[:30],
)
def test_answers_that_no_program_should_give_are_one_line(line, told, described, model):
    network = described(line).open(model, SHAPE)
    with pytest.raises(LatencyError, match=told) as error:
        network.sample(Calls(1, 3), "wall")
    check_one_line(error)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"machine": {**MACHINE, "cpu": ["abacus"]}}, "cpu or os is no text"),
        ({"machine": {**MACHINE, "cores": float("inf")}}, "cores are no number"),
        ({"machine": {**MACHINE, "cpu": "\x1b[2Jabacus"}}, "control characters"),
        ({"machine": {**MACHINE, "memory": float("nan")}}, "no finite number"),
        ({"runtime": {**RUNTIME, "version": None}}, "is no text"),
        ({"runtime": {**RUNTIME, "options": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}}}, "nested"),
        ({"format": ["onnx"]}, "which is none of"),
    ],
)
def test_descriptions_that_no_record_can_hold_are_one_line(change, told, described):
    device = described("", json.dumps({**DESCRIPTION, **change}))
    with pytest.raises(LatencyError, match=told) as error:
        device.describe()
    check_one_line(error)


@pytest.mark.parametrize(
    ("runtime", "printed"),
    [
        ("litert", "count=5 avg=1.2.3"),
        ("litert", "count=3 first=1 avg=80"),
        ("litert", "count=1.2.3 avg=80"),
        ("ncnn", "min = 1 max = 2 avg = ."),
        ("ncnn", "min = 1..2 max = 2 avg = 3"),
        ("onnxruntime", "a,1.2.3,1,1,0\n" * 5),
        ("onnxruntime", "a,0.1,1,1,0\n" * 4),
        ("onnxruntime", "\x1b[2J"),
    ],
)
def test_broken_output_of_a_phone_is_one_line(runtime, printed):
    with pytest.raises(LatencyError, match="printed no latency") as error:
        BENCHMARKS[runtime].latency_ms(printed, Calls(0, 5))
    check_one_line(error)


@pytest.fixture
def phone(tmp_path, monkeypatch):
    folder = tmp_path / "phone"
    fake_adb.install(folder, "onnxruntime_perf_test")
    monkeypatch.setenv("FAKE_PHONE", str(folder))
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.mark.parametrize(
    ("command", "prints", "told"),
    [
        ("sha256sum", "", "gives no digest"),
        ("sha256sum", "no such command", "gives no digest"),
        ("getprop", "", "does not report its version of Android"),
        ("cat", "processor : 0\nMemTotal: " + "9" * 5000 + " kB", None),
        ("cat", "", "cores"),
    ],
)
def test_a_phone_that_answers_wrongly_is_one_line(phone, command, prints, told):
    program = phone / "files" / "bin" / command
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{prints}'\n")
    program.chmod(0o755)
    if told is None:
        assert AdbDevice("onnxruntime").machine()["memory_gib"] is None
        return
    with pytest.raises(LatencyError, match=told) as error:
        AdbDevice("onnxruntime").machine()
    check_one_line(error)
