import json

import pytest
import torch
from torch import nn

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.devices.adb import AdbDevice
from efficientformer.latency.devices.phone_benchmarks import BENCHMARKS
from efficientformer.latency.prepared import Calls
from efficientformer.latency.tables.build import build_table
from tests.latency.devices import fake_adb

SHAPE = (1, 3, 16, 16)
SERIAL = "8A1X0"
SUFFIXES = {"onnxruntime": ".onnx", "litert": ".tflite", "ncnn": ".param"}


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A folder that is a phone, with a fake adb on the PATH."""
    folder = tmp_path / "phone"
    fake_adb.install(folder, *(benchmark.program for benchmark in BENCHMARKS.values()))
    monkeypatch.setenv("FAKE_PHONE", str(folder))
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.fixture
def model(tmp_path):
    """A file that takes 0.52 ms on the fake phone with one thread."""

    def make(suffix):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(b"n" * 100_000)
        return path

    return make


def asked(phone, verb):
    """What adb was asked to do, of one kind."""
    lines = [json.loads(line) for line in (phone / "log.txt").read_text().splitlines()]
    return [line[-1] for line in lines if verb in line]


def states(phone, **by_serial):
    (phone / "state.json").write_text(json.dumps(by_serial))


@pytest.mark.parametrize("runtime", BENCHMARKS)
def test_the_output_of_each_program_is_read(phone, model, runtime):
    network = AdbDevice(runtime, 1).open(model(SUFFIXES[runtime]), SHAPE)
    for calls in (Calls(0, 1), Calls(2, 5)):
        assert network.sample(calls, "wall") == pytest.approx(0.52, rel=0.1)
    slow, fast = (AdbDevice(runtime, threads).open(model(SUFFIXES[runtime]), SHAPE) for threads in (1, 4))
    assert slow.sample(Calls(1, 9), "wall") > 2 * fast.sample(Calls(1, 9), "wall")


def test_only_timed_calls_are_averaged():
    rows = "".join(f"model,{seconds},4096,11,{index}\n" for index, seconds in enumerate([9e-1, 1e-3, 3e-05]))
    assert BENCHMARKS["onnxruntime"].latency_ms(f"Total requests: 3\n{rows}", Calls(1, 2)) == pytest.approx(0.515)
    text = "INFO: count=0 p5=0\nINFO: count=5 first=9 curr=1 min=1 max=9 avg=1.23457e+06 std=2 p5=1\nMemory: count=0"
    assert BENCHMARKS["litert"].latency_ms(text, Calls(0, 5)) == pytest.approx(1234.57)
    assert BENCHMARKS["litert"].latency_ms("count=3 curr=1500(all same) p5=1500", Calls(0, 3)) == 1.5
    assert BENCHMARKS["litert"].latency_ms("count=1 curr=1500 p5=1500", Calls(0, 1)) == 1.5
    text = "    model.param  min =    5.01  max =   12.40  avg =    5.12"
    assert BENCHMARKS["ncnn"].latency_ms(text, Calls(0, 4)) == 5.12


@pytest.mark.parametrize("runtime", BENCHMARKS)
def test_output_of_another_version_is_refused(runtime):
    with pytest.raises(LatencyError, match=r"printed no latency of the calls asked for \(Done\.\)"):
        BENCHMARKS[runtime].latency_ms("Done.", Calls(1, 1))


def test_a_phone_is_told_from_others_and_a_program_from_its_versions(phone):
    device = AdbDevice("onnxruntime", 2)
    assert device.machine() == {
        "cpu": "GS201 gs201 (0xd05 x 4, 0xd41 x 2, 0xd44 x 2)",
        "cores": 8,
        "memory_gib": 7.5,
        "os": "Android 14 arm64-v8a",
        "model": "Google Pixel 7",
    }
    description = device.describe()
    assert (description["name"], description["compute_unit"]) == ("onnxruntime", "CPUExecutionProvider")
    assert description["options"]["program"] == "onnxruntime_perf_test"
    program = phone / "files/data/local/tmp/onnxruntime_perf_test"
    program.write_text(program.read_text() + "# another version\n")
    assert AdbDevice("onnxruntime", 2).describe()["version"] != description["version"]


def test_a_model_is_pushed_once(phone, model):
    for _ in range(2):
        AdbDevice("onnxruntime").open(model(".onnx"), SHAPE)
    assert len(asked(phone, "push")) == 1
    model(".onnx").write_bytes(b"another")
    AdbDevice("onnxruntime").open(model(".onnx").with_name("model.onnx"), SHAPE)
    assert not list(phone.rglob("*.arriving"))


def test_a_module_is_exported_and_timed(phone):
    torch.manual_seed(0)
    small, large = (
        AdbDevice("onnxruntime").prepare(nn.Conv2d(3, width, 3), SHAPE).sample(Calls(1, 3), "wall")
        for width in (8, 512)
    )
    assert large > 2 * small


def test_cores_are_chosen_with_taskset(phone, model):
    network = AdbDevice("litert", cores="0xF0").open(model(".tflite"), SHAPE)
    assert network.sample(Calls(1, 2), "wall") == pytest.approx(0.52, rel=0.1)
    assert "taskset f0 /data/local/tmp/benchmark_model" in asked(phone, "shell")[-1]
    assert AdbDevice("litert", cores="f0").describe() != AdbDevice("litert").describe()
    with pytest.raises(UsageError, match="benchncnn chooses its cores itself"):
        AdbDevice("ncnn", cores="f0")
    with pytest.raises(UsageError, match="not a hexadecimal mask"):
        AdbDevice("litert", cores="4-7")


@pytest.mark.parametrize(
    ("by_serial", "serial", "message"),
    [
        ({}, None, "adb sees no phone. Connect one"),
        ({"A": "unauthorized"}, None, "phone A has not allowed this computer .* on its screen"),
        ({"A": "offline"}, None, "phone A is offline"),
        ({"A": "no permissions (missing udev rules?); see [http://x]"}, None, "udev"),
        ({"A": "recovery"}, None, "in the state 'recovery'"),
        (
            {"A": "device", "B": "device"},
            None,
            r"several phones: A \(device\), B \(device\)\. Choose one with --device",
        ),
        ({"A": "device"}, "B", r"no phone B, only A \(device\)"),
    ],
)
def test_a_phone_that_is_not_ready_is_refused_with_what_to_do(phone, by_serial, serial, message):
    states(phone, **by_serial)
    with pytest.raises(LatencyError, match=message):
        AdbDevice("onnxruntime", serial=serial)


def test_one_of_several_phones_is_chosen(phone, model):
    states(phone, **{SERIAL: "device", "B": "device"})
    network = AdbDevice("onnxruntime", serial=SERIAL).open(model(".onnx"), SHAPE)
    assert network.sample(Calls(1, 2), "wall") == pytest.approx(0.52, rel=0.1)


def test_programs_that_are_missing_or_fail_are_named(phone, model, monkeypatch):
    with pytest.raises(LatencyError, match=r"/data/bench is not on the phone 8A1X0.*--device-program"):
        AdbDevice("onnxruntime", program="/data/bench")
    with pytest.raises(UsageError, match="onnxruntime, litert, ncnn, not 'pytorch'"):
        AdbDevice("pytorch")
    network = AdbDevice("litert").open(model(".tflite"), SHAPE)
    monkeypatch.setenv("FAKE_PHONE_FLAWS", "no_delegate")
    with pytest.raises(LatencyError, match="without XNNPACK"):
        network.sample(Calls(1, 1), "wall")
    broken = phone / "files/data/local/tmp/benchmark_model"
    broken.write_text("#!/bin/sh\necho 'ERROR: Failed to load model' >&2\nexit 1\n")
    with pytest.raises(
        LatencyError, match=r"benchmark_model failed with code 1 on model\.tflite: ERROR: Failed to load"
    ):
        network.sample(Calls(1, 1), "wall")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(LatencyError, match=r"adb cannot be started.*platform-tools"):
        AdbDevice("onnxruntime")


def test_only_wall_time_is_told(phone, model):
    network = AdbDevice("onnxruntime").open(model(".onnx"), SHAPE)
    with pytest.raises(
        LatencyError, match=r"onnxruntime_perf_test measures wall time, not cpu time\. Use --clock wall"
    ):
        network.sample(Calls(1, 1), "cpu")


def test_a_phone_that_goes_while_it_measures_is_told_from_a_program_that_fails(phone, model):
    network = AdbDevice("ncnn").open(model(".param"), SHAPE)
    (phone / "lose").touch()
    with pytest.raises(LatencyError, match=r"The phone 8A1X0 has gone.*Connect it again.*finished rounds are kept"):
        network.sample(Calls(1, 1), "wall")
    (phone / "lose").unlink()
    states(phone, **{SERIAL: "device"})
    assert network.sample(Calls(1, 2), "wall") == pytest.approx(0.52, rel=0.1)


@pytest.mark.slow
def test_a_table_goes_on_after_the_phone_was_lost(phone, smallest_space, tmp_path):
    partial = tmp_path / "partial.jsonl"
    arguments = dict(resolution=32, num_classes=10, clock="wall", rounds=2, num_networks=4, chain_length=2)

    def lose(done, total, text):
        if text == "round 1 of 2":
            (phone / "lose").touch()

    with pytest.raises(LatencyError, match=r"The phone 8A1X0 has gone.*finished rounds are kept"):
        build_table(smallest_space, **arguments, runtime=AdbDevice("onnxruntime"), partial_path=partial, progress=lose)
    finished_round = partial.read_text().splitlines()[-1]
    (phone / "lose").unlink()
    states(phone, **{SERIAL: "device"})
    num_pushed = len(asked(phone, "push"))
    table = build_table(smallest_space, **arguments, runtime=AdbDevice("onnxruntime"), partial_path=partial)
    assert finished_round in partial.read_text().splitlines()
    assert next(iter(table.entries.values())).samples == 2
    assert len(asked(phone, "push")) == num_pushed, "its files were still there"
    assert table.provenance["machine"]["model"] == "Google Pixel 7"
    table.check_device(AdbDevice("onnxruntime").machine(), AdbDevice("onnxruntime").describe())
    with pytest.raises(LatencyError, match="measured elsewhere"):
        table.check_device(AdbDevice("litert").machine(), AdbDevice("litert").describe())
