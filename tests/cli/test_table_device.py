"""`table --device command:...`: a table of any device, killed and gone on with, and kept from other devices."""

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from efficientformer.cli.app import run
from efficientformer.reading import read_record

# Milliseconds follow from the size of the file, so that the table of this "device" is nearly exact; digits of the
# process behind them, so that no round is like another.
PROGRAM = """#!/bin/sh
if [ "$1" = --describe ]; then cat "$0.json"; exit; fi
size=$(wc -c < "$2")
echo "{\\"latency_ms\\": $((size / 1000)).$((size % 1000 + 1000))$$}"
"""
NUM_LINES_BEFORE_ROUNDS = 2
SPACE = """
stem_strides: [2, 1]
stages:
- {widths: [16, 16], blocks: [MB4D], depth: 1}
- {widths: [16, 16], blocks: [MB4D], depth: 1}
- {widths: [16, 16], blocks: [MB4D], depth: 2}
- {widths: [16, 32], blocks: [MB4D], depth: 2}
"""
"""A table of eight networks: every sample costs the start of a program."""
DESCRIPTION = {
    "machine": {"cpu": "scales", "cores": 1, "os": "none"},
    "runtime": {"name": "weight", "version": "1", "compute_unit": "spring", "precision": "fp32", "options": {}},
    "format": "onnx",
    "clock": "wall",
}


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    describe(path)
    return path


def describe(path, **changes):
    path.with_name(f"{path.name}.json").write_text(json.dumps({**DESCRIPTION, **changes}) + "\n")


def kill_after(rounds, command, partial):
    """Run the command until that many rounds are on disk, kill it, and return the lines that it left."""
    code = "import sys; from efficientformer.cli.app import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *command], stderr=subprocess.DEVNULL)
    while not partial.exists() or len(partial.read_text().splitlines()) < NUM_LINES_BEFORE_ROUNDS + rounds:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return partial.read_text().splitlines()


@pytest.mark.slow
def test_a_killed_table_goes_on_and_is_kept_from_other_devices(program, tmp_path, capsys):
    run_dir, space = tmp_path / "run", tmp_path / "few.yaml"
    space.write_text(SPACE)
    command = ["table", "--device", f"command:{program}", "--space", str(space), "--table.rounds", "6"]
    command += ["--run-dir", str(run_dir)]
    kept = kill_after(1, command, run_dir / "table.partial.jsonl")
    more = kill_after(3, command, run_dir / "table.partial.jsonl")
    assert kept[-1] in more, "a finished round is not taken again"

    assert run(command) == 0
    table = read_record(run_dir / "table.json", Any)
    assert table["runtime"] == DESCRIPTION["runtime"] and table["clock"] == "wall"
    assert table["provenance"]["machine"] == DESCRIPTION["machine"]
    assert table["error"]["mean_percent"] < 3
    capsys.readouterr()

    describe(program, machine={"cpu": "other scales", "cores": 1, "os": "none"})
    assert run(["slim", "--run-dir", str(run_dir)]) == 1
    assert "measured elsewhere: cpu is other scales, recorded was scales" in capsys.readouterr().err
    assert run(["slim", "--run-dir", str(run_dir), "--device", "local"]) == 2
    assert "table.json is out of date (device" in capsys.readouterr().err


def test_a_device_that_does_not_exist_is_refused(tmp_path, capsys):
    assert run(["table", "--device", "toaster", "--run-dir", str(tmp_path)]) == 2
    assert "There is no device 'toaster'" in capsys.readouterr().err
    assert run(["table", "--device", "command:/no/such/program", "--run-dir", str(tmp_path)]) == 1
    assert "/no/such/program cannot be started" in capsys.readouterr().err
