"""Temporary files of processes that were killed while they wrote: the next write, or the next run, clears them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from efficientformer import leftovers
from efficientformer.records import atomic_path, write_record
from efficientformer.run_dir import RunDir

WRITES = """
import sys, time
from pathlib import Path
from efficientformer.records import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writing():
    """Starts processes that write a file and never finish."""
    processes = []

    def start(path):
        processes.append(subprocess.Popen([sys.executable, "-c", WRITES, str(path)], stdout=subprocess.PIPE, text=True))
        return processes[-1], Path(processes[-1].stdout.readline().strip())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def temporaries(folder):
    return sorted(folder.rglob(".*.tmp"))


def killed(writing, path):
    process, temporary = writing(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert temporary.exists()
    return temporary


def old(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    os.utime(path, (time.time() - 2 * leftovers.FOREIGN_AFTER_S,) * 2)
    return path


@pytest.mark.parametrize("place", ["settings.json", "supernet/weights.safetensors", "networks/8ms/model.onnx"])
def test_the_next_run_clears_what_a_killed_one_left(place, writing, tmp_path):
    killed(writing, tmp_path / place)
    with RunDir(tmp_path).locked():
        assert temporaries(tmp_path) == []


def test_the_next_write_of_the_same_file_clears_it_and_no_other(writing, tmp_path):
    """Contact sheets and merged tables have no run directory."""
    killed(writing, tmp_path / "sheet.png")
    other = killed(writing, tmp_path / "other.png")
    with atomic_path(tmp_path / "sheet.png") as temporary:
        temporary.write_text("whole")
    assert temporaries(tmp_path) == [other] and (tmp_path / "sheet.png").read_text() == "whole"


def test_what_a_living_process_writes_is_left_alone(writing, tmp_path):
    _, temporary = writing(tmp_path / "sheet.png")
    write_record(tmp_path / "sheet.png", 1)
    with RunDir(tmp_path).locked():
        assert temporary.exists()


def test_what_this_process_writes_is_left_alone(tmp_path):
    with atomic_path(tmp_path / "record.json") as first, atomic_path(tmp_path / "record.json") as second:
        with RunDir(tmp_path).locked():
            pass
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "record.json").read_text() == "1" and temporaries(tmp_path) == []


def test_a_number_that_another_process_has_now_is_no_reason_to_keep_it_for_good(writing, tmp_path):
    """The system gives numbers of processes again: this process may have that of the one that was killed."""
    mine = leftovers.temporary_name("settings.json")
    (tmp_path / mine).write_text("half, of an earlier process with this number")
    with RunDir(tmp_path).locked():
        assert temporaries(tmp_path) == []


@pytest.mark.parametrize("name", [".weights.safetensors.abcd1234.tmp", ".weights.safetensors.00ff00ff-12-abcd1234.tmp"])
def test_files_of_other_machines_and_of_earlier_versions_are_cleared_after_a_day(name, tmp_path):
    fresh, stale = tmp_path / "supernet" / name, old(tmp_path / "slim" / name)
    fresh.parent.mkdir()
    fresh.write_text("half")
    with RunDir(tmp_path).locked():
        assert temporaries(tmp_path) == [fresh] and not stale.exists()


def test_other_files_folders_and_links_are_not_touched(tmp_path):
    kept = [
        old(tmp_path / "notes.tmp"),
        old(tmp_path / ".notes.tmp"),
        old(tmp_path / "photos" / ".a.json.abcd1234.tmp"),
        old(tmp_path / ".settings.json.abcd1234.tmp" / "inside"),
        old(tmp_path / ".a.json.abcd.1234.txt"),
    ]
    link, target = tmp_path / "slim" / ".trace.json.abcd1234.tmp", old(tmp_path / "elsewhere")
    link.parent.mkdir()
    link.symlink_to(target.name)
    with RunDir(tmp_path).locked():
        pass
    assert all(path.exists() for path in [*kept, target]) and link.is_symlink()


def test_long_names_leave_room_for_the_temporary_one(tmp_path):
    for name in ("x" * 250 + ".png", "é" * 120 + ".png"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"


def test_a_folder_that_cannot_be_listed_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("efficientformer.leftovers.os.scandir", refuse)
    with atomic_path(tmp_path / "record.json") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "record.json").exists()


HOLDS = """
import sys, time
from pathlib import Path
from efficientformer.leftovers import temporary_folder
with temporary_folder() as folder:
    (Path(folder) / "network.onnx").write_text("large")
    print(folder, flush=True)
    time.sleep(600 if len(sys.argv) > 1 else 0)
"""


@pytest.fixture
def holding(tmp_path):
    """Starts processes that hold a temporary folder in `tmp_path`, for ever or for a moment."""
    processes = []

    def start(*forever):
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", HOLDS, *forever]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return processes[-1], Path(processes[-1].stdout.readline().strip())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_temporary_folders_of_killed_processes_are_cleared_by_the_next_and_those_of_living_ones_are_not(
    holding, tmp_path
):
    dead, left = holding("forever")
    _, living = holding("forever")
    others = [tmp_path / "efficientformer-worker-0", tmp_path / "efficientformer-0a1b2c3d-1-abc"]
    for folder in others:
        folder.mkdir()
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert left.parent == tmp_path and (left / "network.onnx").exists()
    (tmp_path / "elsewhere").mkdir()
    link = left.with_name(f"{left.name}x")
    link.symlink_to(tmp_path / "elsewhere")
    process, own = holding()
    process.wait()
    assert not left.exists() and not own.exists()
    assert (living / "network.onnx").exists() and link.is_symlink() and all(folder.exists() for folder in others)
