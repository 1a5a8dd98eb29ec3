import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from efficientformer import provenance as origin


def test_provenance_names_machine_versions_revision_time_load_and_command():
    record = json.loads(json.dumps(origin.provenance()))
    assert set(record) == {"machine", "versions", "revision", "time", "load", "command"}
    assert set(record["machine"]) == {"cpu", "cores", "memory_gib", "os", "python"}
    assert record["machine"]["cpu"] and record["machine"]["cores"] >= 1
    assert record["versions"]["torch"] and record["versions"]["efficientformer"]
    assert datetime.datetime.fromisoformat(record["time"]).tzinfo is not None


def test_command_leaves_out_the_folder_of_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/somebody/bin/efficientformer", "table", "--out", "a b"])
    assert origin.provenance()["command"] == "efficientformer table --out 'a b'"


def test_a_module_is_named_as_it_is_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/somebody/src/efficientformer/__main__.py", "design"])
    assert origin.provenance()["command"] == "python -m efficientformer design"


def test_versions_are_read_without_importing_packages():
    code = "import sys; from efficientformer.provenance import provenance; provenance(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_chips_of_one_name_are_told_apart_by_model():
    text = "processor : 0\nmodel name : AMD EPYC\ncpu family : 25\nmodel : 17\n\nprocessor : 1\nmodel name : AMD EPYC\n"
    assert origin._name_from_cpuinfo(text) == "AMD EPYC (family 25, model 17)"
    assert origin._name_from_cpuinfo("nothing of use") is None


def test_arm_chips_are_named_by_their_part():
    assert "part 0xd0b" in str(origin._name_from_cpuinfo("CPU implementer : 0x41\nCPU part : 0xd0b\n"))


def test_machines_differ_by_chip_cores_and_system_only():
    here = {"cpu": "A", "cores": 4, "os": "Linux x86_64", "python": "3.12", "memory_gib": 8}
    assert origin.differences({**here, "python": "3.11", "memory_gib": 16}, here) == []
    assert origin.differences({**here, "cpu": "B"}, here) == ["cpu is A, recorded was B"]


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A git repository that tracks a copy of provenance.py, in place of the one that this package lies in."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    shutil.copy(origin.__file__, package / "provenance.py")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "--message", "first")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "GIT_DIR"}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def revision_of(monkeypatch, path: Path) -> str | None:
    monkeypatch.setattr(origin, "__file__", str(path))
    return origin.revision.__wrapped__()


def test_the_revision_is_the_commit_and_marks_changed_files(repository, monkeypatch):
    own, commit = repository / "src" / "package" / "provenance.py", git(repository, "rev-parse", "HEAD")
    assert revision_of(monkeypatch, own) == commit
    (repository / "untracked").touch()
    assert revision_of(monkeypatch, own) == commit
    own.write_text(own.read_text() + "\n# changed\n")
    assert revision_of(monkeypatch, own) == f"{commit}+changes"


def test_the_revision_of_another_repository_further_up_does_not_count(repository, monkeypatch):
    installed = repository / "venv" / "provenance.py"
    installed.parent.mkdir()
    shutil.copy(origin.__file__, installed)
    assert revision_of(monkeypatch, installed) is None
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert revision_of(monkeypatch, repository.parent / "nowhere.py") is None
    assert revision_of(monkeypatch, installed) is None


def test_without_git_there_is_no_revision(repository, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    assert revision_of(monkeypatch, repository / "src" / "package" / "provenance.py") is None


def test_code_that_was_never_a_file_has_no_revision(monkeypatch):
    """A worker imports this module from memory, under the name of a file that does not exist there."""
    assert revision_of(monkeypatch, Path("efficientformer/provenance.py")) is None
    monkeypatch.delattr(origin, "__file__")
    assert origin.revision.__wrapped__() is None


def test_the_revision_tells_no_machines_apart(monkeypatch):
    assert "revision" not in {*origin.FINGERPRINT, *origin.machine()}
