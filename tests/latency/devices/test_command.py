import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.devices import programs
from efficientformer.latency.devices.command import CommandDevice
from efficientformer.latency.prepared import Calls
from efficientformer.latency.tables.build import build_table

SHAPE = (1, 3, 32, 32)
ONNX_PROGRAM = Path(__file__).with_name("onnx_program.py")
DESCRIPTION = {
    "machine": {"cpu": "abacus", "cores": 1, "os": "None"},
    "runtime": {"name": "beads", "version": "1", "compute_unit": "hand", "precision": "fp32", "options": {}},
    "format": "onnx",
    "clock": "wall",
}


@pytest.fixture
def program(tmp_path):
    """A device whose program runs the given lines of Python; `arguments` holds what it was given."""

    def make(code, **options):
        path = tmp_path / "program.py"
        path.write_text(f"import json, sys, time\narguments = sys.argv[1:]\n{code}\n")
        return CommandDevice(f"{shlex.quote(sys.executable)} -IS {shlex.quote(str(path))}", **options)

    return make


def answering(answer, description=DESCRIPTION):
    """Code of a program with this description, whose answer to everything else is the given expression."""
    return f"print(json.dumps({description!r}) if '--describe' in arguments else {answer})"


def convolutions(width):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3)).eval()


def test_a_real_program_times_larger_networks_longer():
    device = CommandDevice(f"{sys.executable} {ONNX_PROGRAM} --clock cpu")
    small, large = (device.prepare(convolutions(width), SHAPE) for width in (8, 128))
    latency_ms = [min(net.sample(Calls(1, 3), "cpu") for _ in range(3)) for net in (small, large)]
    assert latency_ms[1] > 3 * latency_ms[0] > 0
    assert (device.name, device.describe()["options"]) == ("onnxruntime", {"intra_op_threads": 1})
    assert set(device.machine()) == {"cpu", "cores", "os"} and device.suffixes == (".onnx",)


def test_the_program_is_told_what_to_time_and_its_runs_are_averaged(program, model, tmp_path):
    seen = tmp_path / "seen.json"
    save = f"open({str(seen)!r}, 'w').write(json.dumps(arguments))"
    device = program(
        f"{save}\nprint('some chatter')\n" + answering("'{\"samples_ms\": [2000, 3000, 7000]}'"), threads=4
    )
    assert device.open(model, SHAPE).sample(Calls(5, 3), "wall") == 4000
    given = json.loads(seen.read_text())
    assert given == [
        *("--model", str(model.resolve()), "--input", "1x3x32x32"),
        *("--warmup", "5", "--runs", "3", "--threads", "4"),
    ]


def test_a_cold_program_gets_more_calls_once_it_is_known_how_long_one_takes(program, model):
    runs = "json.dumps({'latency_ms': 0.5, 'asked': arguments})"
    network = program(answering(runs)).open(model, SHAPE)
    asked = []
    network._time_calls = lambda calls: asked.append(calls) or 0.5
    assert [network.sample(Calls(2, 1), "wall") for _ in range(2)] == [0.5, 0.5]
    assert asked == [Calls(2, 1), Calls(200, 40)]


def test_a_clock_too_coarse_for_some_runs_is_right_in_the_mean(program, model):
    network = program(answering("'{\"samples_ms\": [0.0, 4, 0, 8]}'")).open(model, SHAPE)
    assert network.sample(Calls(1, 4), "wall") == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("'fast'", r"must end with a line that is one JSON object, not 'fast'"),
        ("''", r"must end with a line that is one JSON object, not ''"),
        ("'[1.5]'", r"must end with a line that is one JSON object"),
        ("'{\"latency\": 1}'", r"printed \['latency'\], not \"samples_ms\""),
        ("'{\"samples_ms\": []}'", r"not \"samples_ms\" \(a list\)"),
        ("'{\"samples_ms\": 3}'", r"not \"samples_ms\" \(a list\)"),
        ("'{\"samples_ms\": [1, -2]}'", r"a latency of -2 ms"),
        ("'{\"latency_ms\": NaN}'", r"a latency of nan ms"),
        ("'{\"latency_ms\": 0}'", r"a latency of 0 ms"),
        ("'{\"samples_ms\": [0, 0.0]}'", r"a latency of 0 ms"),
        ('\'{"latency_ms": "3"}\'', r"a latency of '3' ms"),
        ("'{\"latency_ms\": true}'", r"a latency of True ms"),
        ("sys.exit('first\\nno such layer: Gelu')", r"failed with code 1: first / no such layer: Gelu"),
        ("sys.exit(3)", r"failed with code 3: it printed nothing"),
    ],
)
def test_answers_that_are_no_latency_are_refused(program, model, answer, message):
    network = program(answering(answer)).open(model, SHAPE)
    with pytest.raises(LatencyError, match=message):
        network.sample(Calls(1, 1), "wall")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": {"cpu": "abacus"}}, r'no "machine" with cpu, cores, os'),
        ({"machine": None}, r'no "machine"'),
        ({"runtime": {"name": "beads"}}, r'no "runtime" with exactly name, version, compute_unit, precision, options'),
        ({"runtime": {**DESCRIPTION["runtime"], "options": 3}}, r"options are no object"),
        ({"format": "caffe"}, r'"format" \'caffe\', which is none of onnx, tflite, ncnn'),
        ({"clock": "sun"}, r'"clock" \'sun\''),
    ],
)
def test_descriptions_that_lack_something_are_refused(program, change, message):
    device = program(answering("1", {**DESCRIPTION, **change}))
    with pytest.raises(LatencyError, match=f"(?s)--describe prints.*{message}.*docs/devices.md"):
        device.describe()


def test_programs_that_are_missing_or_hang_are_named(program, model):
    with pytest.raises(LatencyError, match=r"no/such/program cannot be started: No such file"):
        CommandDevice("no/such/program").describe()
    with pytest.raises(UsageError, match="no command line"):
        CommandDevice("'unfinished")
    hanging = program(answering("time.sleep(60)"), timeout_s=0.5)
    with pytest.raises(LatencyError, match=r"still running after 0\.5 s"):
        hanging.open(model, SHAPE).sample(Calls(1, 1), "wall")


def test_what_a_program_does_not_do_is_said(program, model):
    network = program(answering("1")).open(model, SHAPE)
    with pytest.raises(LatencyError, match=r"measures wall time, not cpu time\. Use --clock wall"):
        network.sample(Calls(1, 1), "cpu")
    with pytest.raises(LatencyError, match="gives no outputs"):
        network.output()
    with pytest.raises(LatencyError, match=r"not a \.onnx file"):
        program(answering("1")).open(model.with_suffix(".tflite"), SHAPE)


# Time as long as the file is large, so that tables are exact and tests quick.
BY_SIZE = "json.dumps({'latency_ms': __import__('os').path.getsize(arguments[1]) / 1e4})"


@pytest.mark.slow
def test_a_table_goes_on_after_the_device_was_lost(program, smallest_space, tmp_path):
    partial, lost = tmp_path / "partial.jsonl", tmp_path / "lost"
    losing = f"'--model' in arguments and __import__('os').path.exists({str(lost)!r}) and sys.exit('a loose cable')"
    device = program(f"{losing}\n{answering(BY_SIZE)}")
    arguments = dict(
        resolution=32, num_classes=10, runtime=device, clock="wall", rounds=2, num_networks=4, chain_length=2
    )

    def lose(done, total, text):
        if text == "round 1 of 2":
            lost.touch()

    with pytest.raises(LatencyError, match="a loose cable"):
        build_table(smallest_space, **arguments, partial_path=partial, progress=lose)
    finished_round = partial.read_text().splitlines()[-1]
    lost.unlink()
    table = build_table(smallest_space, **arguments, partial_path=partial)
    assert table.runtime == DESCRIPTION["runtime"] and table.provenance["machine"] == DESCRIPTION["machine"]
    assert finished_round in partial.read_text().splitlines()
    assert next(iter(table.entries.values())).samples == 2


@pytest.mark.slow
def test_a_real_program_makes_a_table(smallest_space, monkeypatch):
    monkeypatch.setattr(programs, "SETTLING_MS", 20.0)  # of networks this small, most of the test
    device = CommandDevice(f"{sys.executable} {ONNX_PROGRAM} --clock cpu")
    # Deep where maps are large, so that no noise of two rounds makes the largest network the faster one.
    first, *others = smallest_space.stages
    space = replace(smallest_space, stages=(replace(first, largest=first.blocks * 8), *others))
    table = build_table(
        space,
        resolution=32,
        num_classes=10,
        runtime=device,
        clock="cpu",
        rounds=2,
        num_networks=2,
        chain_length=2,
    )
    assert table.largest.measured_ms > table.smallest.measured_ms > 0
    assert table.predict(space.largest()) == pytest.approx(table.largest.measured_ms, rel=0.5)
    assert (table.runtime, table.clock) == (device.describe(), "cpu")
