import sys

import pytest

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.devices import (
    DeviceOptions,
    counts_own_time,
    default_clock,
    open_device,
    open_restartable,
    resolve_clock,
)
from efficientformer.latency.devices.command import CommandDevice
from efficientformer.latency.runtime import Restarts
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.latency.worker.runtime import WorkerRuntime


@pytest.mark.parametrize(
    "device", ["", "here", "local:", "local:gpu", "python", "python:", "ssh:", "adb:", "command", "command: ", "Local"]
)
def test_what_is_no_device_is_refused_with_the_forms(device):
    with pytest.raises(UsageError, match=r"(?s)There is no device .*python:PATH.*ssh:USER@HOST.*adb:SERIAL.*command:"):
        open_device(DeviceOptions(device=device), "onnxruntime")


def test_each_form_opens_its_device(monkeypatch):
    local = open_device(DeviceOptions(device="local"), "onnxruntime", 2)
    assert isinstance(local, OnnxRuntime) and local.threads == 2
    command = open_device(DeviceOptions(device="command:./bench.sh --fast"), "onnxruntime", 3)
    assert isinstance(command, CommandDevice) and command.threads == 3
    monkeypatch.setenv("PATH", "")
    for device in ("adb", "adb:8A1X0"):
        with pytest.raises(LatencyError, match="adb cannot be started"):
            open_device(DeviceOptions(device=device), "onnxruntime")


def test_a_runtime_of_this_process_gets_one_of_its_own_where_a_worker_can_run_it():
    own = open_restartable(DeviceOptions(), "onnxruntime", 1)
    assert isinstance(own, WorkerRuntime) and own.describe() == OnnxRuntime(1).describe()
    own.close()
    assert not isinstance(open_restartable(DeviceOptions(), "pytorch", 1), Restarts)
    assert isinstance(open_restartable(DeviceOptions(device="command:./bench.sh"), "onnxruntime"), CommandDevice)


def test_another_python_runs_the_runtime():
    device = open_device(DeviceOptions(device=f"python:{sys.executable}"), "onnxruntime")
    here = OnnxRuntime(1)
    assert device.describe()["version"] == here.describe()["version"] and device.machine() == here.machine()


def test_what_only_phones_have_is_refused_elsewhere():
    for given in ({"device_program": "/data/local/tmp/bench"}, {"device_cores": "f0"}):
        with pytest.raises(UsageError, match="--device local takes neither"):
            open_device(DeviceOptions(device="local", **given), "onnxruntime")
    with pytest.raises(UsageError, match="at least one thread"):
        open_device(DeviceOptions(device="adb"), "onnxruntime", 0)
    with pytest.raises(UsageError, match="onnxruntime, litert, ncnn"):
        open_device(DeviceOptions(device="adb"), "openvino")


def test_cpu_time_is_told_where_our_own_code_reads_the_clock():
    assert [counts_own_time(device) for device in ("local", "python:/x", "ssh:a@b", "adb", "adb:A", "command:./x")] == [
        *(True, True, True),
        *(False, False, False),
    ]


def test_the_clock_is_wall_time_unless_one_thread_of_ours_does_all_the_work():
    assert default_clock("local", ["onnxruntime", "openvino"], 1) == "cpu"
    assert default_clock("ssh:a@b", ["onnxruntime"], 1) == "cpu"
    assert default_clock("local", ["onnxruntime"], 2) == "wall"
    assert default_clock("local", ["onnxruntime", "cuda"], 1) == "wall"
    assert default_clock("adb", ["onnxruntime"], 1) == "wall"
    assert resolve_clock(None, "local", ["onnxruntime"], 1) == "cpu"
    assert resolve_clock("wall", "local", ["onnxruntime"], 1) == "wall"
