"""ssh devices against a stand-in for ssh, which runs the far side here, in a folder of its own."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from torch import nn

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.latency.devices import DeviceOptions, open_device
from efficientformer.latency.devices.ssh import ssh_transport
from efficientformer.latency.prepared import Calls
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.latency.timing.timer import Progress
from efficientformer.latency.worker.connection import Connection
from efficientformer.latency.worker.runtime import WorkerRuntime
from efficientformer.reading import read_lines

SHAPE = (1, 3, 16, 16)
PYTHON = sys.executable


class Ssh:
    """What the stand-in was called with, and what it will do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.far_files = folder / "far" / f"efficientformer-worker-{os.getuid()}"

    def calls(self) -> list[str]:
        return (self._folder / "calls").read_text().splitlines()

    def will(self, *lives: int | str) -> None:
        (self._folder / "lives").write_text("".join(f"{life}\n" for life in lives))

    def received(self) -> list[Path]:
        return [path for path in self.far_files.rglob("*") if path.is_file()]


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {PYTHON} {Path(__file__).with_name("fake_ssh.py")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    for name in ("calls", "lives"):
        (tmp_path / name).touch()
        monkeypatch.setenv(f"FAKE_SSH_{name.upper()}", str(tmp_path / name))
    (tmp_path / "far").mkdir()
    monkeypatch.setenv("FAKE_SSH_TMPDIR", str(tmp_path / "far"))
    return Ssh(tmp_path)


@pytest.fixture
def onnx_file(tmp_path):
    path = tmp_path / "network.onnx"
    export_onnx(nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU()), SHAPE, path)
    return path


def open_board(pauses=(0.0, 0.0), host="board"):
    return WorkerRuntime(ssh_transport(f"{host}:{PYTHON}"), "onnxruntime", reconnect_after_s=pauses)


def test_networks_run_on_the_far_side(ssh, onnx_file):
    board = open_device(DeviceOptions(device=f"ssh:me@board:{PYTHON}"), "onnxruntime")
    here = OnnxRuntime(1)
    assert board.describe() == here.describe() and board.machine() == here.machine()
    network = board.open(onnx_file, SHAPE)
    assert np.array_equal(network.output(), here.open(onnx_file, SHAPE).output())
    assert network.sample(Calls(1, 2), "cpu") > 0
    assert ssh.calls() == [f"me@board {PYTHON} -c 'import sys;exec(sys.stdin.buffer.readline())'"]


def test_the_far_python_is_python3_unless_given_and_paths_may_have_spaces(ssh, tmp_path):
    assert ssh_transport("board").argv[-1].startswith("python3 -c ")
    spaced = tmp_path / "my board's python"
    spaced.symlink_to("/bin/true")
    with pytest.raises(LatencyError, match=r"The worker on board ended with exit code 0\. Check that `ssh board "):
        WorkerRuntime(ssh_transport(f"board:{spaced}"), "onnxruntime")


def test_a_file_is_sent_once_and_removed_at_the_end(ssh, onnx_file):
    board = open_board()
    networks = [board.open(onnx_file, SHAPE) for _ in range(2)]
    (received,) = ssh.received()
    assert received.read_bytes() == onnx_file.read_bytes()
    assert ssh.far_files.stat().st_mode & 0o777 == 0o700
    written = received.stat().st_mtime_ns
    board._connection.abandon()
    assert np.array_equal(networks[0].output(), networks[1].output())
    assert ssh.received() == [received] and received.stat().st_mtime_ns == written
    board.close()
    assert ssh.received() == []


def test_files_of_lost_sessions_are_removed_after_a_day(ssh, onnx_file):
    for age_s, is_kept in ((3600, True), (2 * 24 * 3600, False)):
        old = ssh.far_files / "old"
        old.mkdir(parents=True, mode=0o700, exist_ok=True)
        ssh.far_files.chmod(0o700)
        then = old.stat().st_mtime - age_s
        os.utime(old, (then, then))
        board = open_board()
        board.open(onnx_file, SHAPE)
        assert old.exists() == is_kept
        board.close()


def test_a_folder_that_others_may_write_is_not_trusted(ssh, onnx_file, tmp_path):
    ssh.far_files.mkdir()
    ssh.far_files.chmod(0o777)
    with pytest.raises(LatencyError, match="belongs to someone else"):
        open_board().open(onnx_file, SHAPE)
    ssh.far_files.rmdir()
    ssh.far_files.symlink_to(tmp_path)
    with pytest.raises(LatencyError, match="belongs to someone else"):
        open_board().open(onnx_file, SHAPE)


def test_a_damaged_file_is_not_opened(ssh, onnx_file):
    connection = Connection(ssh_transport(f"board:{PYTHON}"), "onnxruntime", 1)
    place = {"folder": "f", "name": "network.onnx", "digest": "0" * 64}
    with pytest.raises(LatencyError, match=r"network\.onnx was damaged on its way"):
        connection.put(onnx_file, place)
    assert connection.ask("has", place)[0]["has"] is False
    connection.close()


def test_a_far_side_without_space_is_told_and_goes_on(ssh, onnx_file, tmp_path):
    large = tmp_path / "large.onnx"
    export_onnx(nn.Conv2d(3, 64, 16), SHAPE, large)
    ssh.will("full")
    board = open_board()
    with pytest.raises(LatencyError, match=r"cannot keep .*large\.onnx: .*too large\. Free some space there"):
        board.open(large, SHAPE)
    assert board.conditions() and len(ssh.calls()) == 1


def test_weights_beside_an_onnx_file_are_sent_with_it(ssh, onnx_file, tmp_path):
    model = onnx.load_model(onnx_file)
    path = tmp_path / "split" / "network.onnx"
    path.parent.mkdir()
    onnx.save_model(model, path, save_as_external_data=True, location="network.data", size_threshold=0)
    board = open_board()
    assert np.array_equal(board.open(path, SHAPE).output(), board.open(onnx_file, SHAPE).output())
    assert sorted(file.name for file in ssh.received()) == ["network.data", "network.onnx", "network.onnx"]


def test_names_cannot_lead_out_of_the_folder(ssh, onnx_file):
    connection = Connection(ssh_transport(f"board:{PYTHON}"), "onnxruntime", 1)
    answer, _ = connection.ask("has", {"folder": "../../elsewhere", "name": "../../network.onnx"})
    assert Path(answer["path"]) == ssh.far_files / "elsewhere" / "network.onnx"
    connection.close()


def test_greetings_are_passed_over(ssh):
    assert open_board(host="chatty").describe()["name"] == "onnxruntime"


def test_a_host_that_cannot_be_reached_is_told_in_the_words_of_ssh(ssh):
    with pytest.raises(LatencyError, match=r"on unreachable lost its connection \(.*No route to host\)\. Check that"):
        open_board(host="unreachable")
    assert len(ssh.calls()) == 1


def test_a_far_side_without_python_is_told(ssh, tmp_path):
    with pytest.raises(LatencyError, match=r"found no such Python .*not found.*\. Check that `ssh board .* -V`"):
        WorkerRuntime(ssh_transport(f"board:{tmp_path}/bin/python9"), "onnxruntime")


def test_connections_lost_while_networks_are_opened_or_timed_are_made_again(ssh, onnx_file):
    # The first breaks before the file is sent, the second and the third behind some samples.
    ssh.will(1, 6, 4)
    board = open_board()
    network = board.open(onnx_file, SHAPE)
    assert len(ssh.calls()) == 2
    assert all(network.sample(Calls(0, 1), "cpu") > 0 for _ in range(4))
    assert len(ssh.calls()) == 4


def test_reconnecting_has_an_end(ssh, onnx_file):
    network = open_board().open(onnx_file, SHAPE)
    ssh.will(1, 1, 1, 1, 1)
    network._runtime._connection.abandon()
    with pytest.raises(LatencyError, match=r"on board lost its connection .*finished rounds are kept"):
        network.sample(Calls(0, 1), "cpu")
    assert len(ssh.calls()) == 1 + 3


@pytest.mark.skipif(shutil.which("setarch") is None, reason="needs setarch to look like another machine")
def test_another_machine_behind_the_same_name_ends_the_measurement(ssh, onnx_file):
    network = open_board().open(onnx_file, SHAPE)
    ssh.will("foreign")
    network._runtime._connection.abandon()
    with pytest.raises(
        LatencyError, match=r"on board is not what it was .*os is Linux i686, recorded was Linux x86_64"
    ):
        network.sample(Calls(0, 1), "cpu")


@pytest.mark.slow
def test_a_table_resumes_behind_a_lost_connection_and_knows_its_device(ssh, smallest_space, tmp_path):
    partial = tmp_path / "rounds.jsonl"

    def build(board: WorkerRuntime, progress: Progress | None = None) -> LatencyTable:
        return build_table(
            smallest_space,
            resolution=32,
            num_classes=10,
            runtime=board,
            clock="cpu",
            rounds=12,
            num_networks=4,
            chain_length=2,
            partial_path=partial,
            progress=progress,
        )

    lost = open_board(pauses=())

    def pull_the_plug(done: int, total: int, text: str) -> None:
        if text == "round 1 of 12":
            # Whoever notices the end between two requests opens another connection, which breaks as well.
            ssh.will(1)
            os.killpg(lost._connection._process.pid, signal.SIGKILL)

    with pytest.raises(LatencyError, match=r"on board lost its connection .*finished rounds are kept"):
        build(lost, pull_the_plug)
    ssh.will()
    kept = rounds_in(partial)
    assert len(kept) == 1
    board = open_board()
    table = build(board)
    assert rounds_in(partial)[:1] == kept and len(rounds_in(partial)) >= 12
    table.check_device(board.machine(), board.describe())
    if shutil.which("setarch"):
        ssh.will("foreign")
        with pytest.raises(LatencyError, match="os is Linux i686"):
            table.check_device(open_board().machine(), board.describe())


def rounds_in(partial: Path) -> list[list[float]]:
    return [line for line in read_lines(partial, Any)[1:] if isinstance(line, list)]


@pytest.mark.parametrize("target", ["-oProxyCommand=evil", "", ":/usr/bin/python3", "my board"])
def test_what_is_no_host_is_refused(target):
    with pytest.raises(UsageError, match="is no host for ssh"):
        ssh_transport(target)


def test_a_machine_without_ssh_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LatencyError, match="no ssh on this machine"):
        ssh_transport("board")
