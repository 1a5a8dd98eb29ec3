"""A run directory of someone else's starts no program: canary files would show that one was started."""

import hashlib
import json
import shlex
import sys
import types
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from efficientformer.cli.app import run
from efficientformer.errors import UsageError
from efficientformer.pipeline import verbs
from efficientformer.pipeline.phases import verify
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.settings import Settings, leaves
from efficientformer.pipeline.run.trust.programs import program_settings, shown_program
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir

SHARED = {"preset": "quick", "resolution": 16}


@pytest.fixture(autouse=True)
def a_user(tmp_path, monkeypatch):
    """A user who has named nothing so far, in a folder without anything."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.fixture
def program(tmp_path, canary):
    """A program that leaves a canary, whatever it is asked."""
    path = tmp_path / "program.sh"
    path.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(canary))}\nexit 3\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def theirs(tmp_path):
    """A directory as another user's command would have left it, with these settings."""

    def make(name="theirs", **given):
        root = tmp_path / name
        write_record(RunDir(root).settings, {"given": {**SHARED, **given}})
        return root

    return make


@pytest.fixture
def finish(capsys):
    def run_verb(*arguments):
        capsys.readouterr()
        code = run([*map(str, arguments)])
        return code, capsys.readouterr().err

    return run_verb


def devices_of(program):
    return {
        "command": {"device": f"command:{program}"},
        "python": {"device": f"python:{program}"},
        "litert_python": {"runtime": "litert", "litert_python": str(program)},
    }


@pytest.mark.parametrize("kind", ["command", "python", "litert_python"])
def test_a_remembered_program_of_someone_else_is_shown_and_not_started(kind, theirs, program, canary, finish):
    code, said = finish("table", "--run-dir", theirs(**devices_of(program)[kind]))
    assert code == 2 and not canary.exists()
    flag = "--litert-python" if kind == "litert_python" else "--device"
    own = [line for line in said.splitlines() if not line.startswith(("data ", " "))]
    assert flag in said and str(program) in said and len(own) <= 2


@pytest.mark.parametrize("kind", ["command", "python"])
def test_one_that_is_named_is_started_and_from_then_on_remembered(kind, theirs, program, canary, finish):
    root, device = theirs(**devices_of(program)[kind]), devices_of(program)[kind]["device"]
    for arguments in (["--device", device], []):
        finish("table", "--run-dir", root, *arguments)
        assert canary.exists()
        canary.unlink()


def test_another_program_than_the_one_named_is_refused(theirs, program, canary, finish, tmp_path):
    root = theirs(device=f"command:{program}")
    finish("table", "--run-dir", root, "--device", f"command:{program} --fast")
    assert canary.exists()
    canary.unlink()
    record = read_record(RunDir(root).settings, dict)
    record["given"]["device"] = f"command:{program} --slow"
    write_record(RunDir(root).settings, record)
    code, said = finish("table", "--run-dir", root)
    assert code == 2 and "--slow" in said and not canary.exists()


@pytest.mark.parametrize("place", ["flag", "config", "preset", "python"])
def test_what_this_command_names_is_named(place, program, canary, tmp_path, finish):
    file, root = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text(f"device: 'command:{program}'\nresolution: 16\n")
    if place == "python":
        with pytest.raises(Exception, match="failed with code 3"):
            verbs.table(run_dir=root, device=f"command:{program}")
    else:
        named = {"flag": ["--device", f"command:{program}"], "config": ["--config", file], "preset": ["--preset", file]}
        finish("table", "--run-dir", root, *named[place])
    assert canary.exists()


def test_a_preset_that_someone_else_remembers_names_nothing(theirs, program, canary, tmp_path, finish):
    file = tmp_path / "their.yaml"
    file.write_text(f"device: 'command:{program}'\nresolution: 16\n")
    root = theirs(preset=str(file))
    code, said = finish("table", "--run-dir", root)
    assert code == 2 and "--device" in said and not canary.exists()
    finish("table", "--run-dir", root, "--preset", file)
    assert canary.exists()


def test_a_preset_file_that_changed_after_it_was_named_names_nothing_more(program, canary, tmp_path, finish):
    file, root = tmp_path / "shared.yaml", tmp_path / "run"
    file.write_text("resolution: 16\n")
    with open_run(RunRequest(Settings(preset=str(file)), root)):
        pass
    file.write_text(f"device: 'command:{program}'\n")
    code, _ = finish("table", "--run-dir", root)
    assert code == 2 and not canary.exists()


def test_a_directory_of_this_user_may_be_moved_and_is_not_known_to_another(
    program, canary, finish, tmp_path, monkeypatch
):
    root, moved = tmp_path / "run", tmp_path / "moved"
    finish("table", "--run-dir", root, "--device", f"command:{program}")
    canary.unlink()
    root.rename(moved)
    finish("table", "--run-dir", moved)
    assert canary.exists()
    canary.unlink()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "of another user"))
    for _ in range(2):
        code, said = finish("table", "--run-dir", moved)
        assert code == 2 and "not yours" in said and not canary.exists()


def test_a_relative_program_is_of_one_folder(program, canary, tmp_path, finish, monkeypatch):
    root = tmp_path / "run"
    for folder in ("mine", "evil"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bench.sh").write_bytes(program.read_bytes())
    monkeypatch.chdir(tmp_path / "mine")
    finish("table", "--run-dir", root, "--device", "command:sh bench.sh")
    canary.unlink()
    monkeypatch.chdir(tmp_path / "evil")
    code, said = finish("table", "--run-dir", root)
    assert code == 2 and not canary.exists() and str(tmp_path / "mine") in said
    monkeypatch.chdir(tmp_path / "mine")
    finish("table", "--run-dir", root)
    assert canary.exists()


def test_a_supernet_brings_no_device_and_says_so(theirs, program, canary, tmp_path):
    preset = tmp_path / "their.yaml"
    preset.write_text(f"litert_python: {program}\nresolution: 16\n")
    source = theirs(device=f"command:{program}", preset=str(preset), seed=5)
    request = RunRequest(Settings(supernet_from=str(source)), tmp_path / "mine")
    with open_run(request) as workspace:
        settings = workspace.settings
        assert (settings.device, settings.litert_python, settings.seed) == ("local", None, 5)
        assert workspace.runtime.name == "onnxruntime"
    assert not canary.exists()
    with open_run(RunRequest(run_dir=tmp_path / "mine")) as workspace:
        assert workspace.settings.device == "local"


def test_what_a_supernet_does_not_bring_is_said(theirs, program, tmp_path, capsys):
    source = theirs(device=f"command:{program}")
    with open_run(RunRequest(Settings(supernet_from=str(source)), tmp_path / "mine")):
        pass
    said = capsys.readouterr().err
    assert f"command:{program}" in said and "--device local" in said
    with open_run(RunRequest(Settings(supernet_from=str(source), device="ssh:board"), tmp_path / "board")) as workspace:
        assert workspace.settings.device == "ssh:board"
    assert "command:" not in capsys.readouterr().err


@pytest.mark.parametrize("by", ["flag", "yaml"])
def test_a_remembered_supernet_is_unset_by_none(theirs, tmp_path, by):
    mine, config = tmp_path / "mine", tmp_path / "none.yaml"
    config.write_text("supernet_from: none\n")
    with open_run(RunRequest(Settings(supernet_from=str(theirs(seed=5))), mine)):
        pass
    with open_run(RunRequest(run_dir=mine)) as workspace:
        assert workspace.settings.supernet_from is not None
    given = (
        RunRequest(run_dir=mine, config=config) if by == "yaml" else RunRequest(Settings(supernet_from="none"), mine)
    )
    for request in (given, RunRequest(run_dir=mine)):
        with open_run(request) as workspace:
            assert workspace.settings.supernet_from is None and workspace.settings.seed == 5


def test_verbs_that_start_nothing_are_not_refused_and_accept_nothing(theirs, program, canary, finish):
    root = theirs(device=f"command:{program}")
    with open_run(RunRequest(run_dir=root)) as workspace:
        assert workspace.settings.device == f"command:{program}"
        with pytest.raises(UsageError, match="--device"):
            _ = workspace.runtime
    code, _ = finish("table", "--run-dir", root)
    assert code == 2 and not canary.exists()


def test_the_measurement_of_a_verification_asks_by_itself(theirs, program, canary):
    """Also where nothing before it has opened the device."""
    request = RunRequest(run_dir=theirs(device=f"command:{program}"))
    with open_run(request) as workspace, pytest.raises(UsageError, match="no command of yours has named"):
        verify._verify(workspace, [])
    assert not canary.exists()


def test_escape_codes_of_a_program_are_shown_as_text():
    shown = shown_program("device", "command:\x1b[2Kls \u202e\nrm")
    assert shown.isprintable() and r"\x1b" in shown and r"\u202e" in shown and r"\n" in shown


def test_the_key_is_made_once_for_this_user_alone(program, tmp_path, finish):
    key = tmp_path / "config" / "efficientformer" / "key"
    with open_run(RunRequest(Settings(resolution=16), tmp_path / "no-program")):
        pass
    assert not key.exists()
    for name in ("one", "two"):
        finish("table", "--run-dir", tmp_path / name, "--device", f"command:{program}")
        assert key.stat().st_mode & 0o777 == 0o600 and len(bytes.fromhex(key.read_text())) == 32
    assert [path.name for path in key.parent.iterdir()] == ["key"]
    signature = json.dumps(read_record(RunDir(tmp_path / "one").settings, dict)["programs"])
    assert key.read_text().strip() not in signature
    assert hashlib.sha256(key.read_bytes()).hexdigest() not in signature


@pytest.mark.parametrize("harm", ["empty", "short", "no hex", "readable by others", "folder"])
def test_a_key_that_cannot_be_used_is_one_line_and_nothing_is_started(harm, program, canary, tmp_path, finish):
    root, key = tmp_path / "run", tmp_path / "config" / "efficientformer" / "key"
    finish("table", "--run-dir", root, "--device", f"command:{program}")
    canary.unlink()
    match harm:
        case "readable by others":
            key.chmod(0o644)
        case "folder":
            key.unlink()
            key.mkdir()
        case _:
            key.write_text({"empty": "", "short": "00ff\n", "no hex": "z" * 64}[harm])
    before = None if key.is_dir() else key.read_bytes()
    code, said = finish("table", "--run-dir", root)
    assert code == 2 and not canary.exists() and str(key) in said and "Traceback" not in said
    code, said = finish("table", "--run-dir", root, "--device", f"command:{program}")
    assert canary.exists() and said.count(str(key)) == 1
    assert before == (None if key.is_dir() else key.read_bytes())


def test_without_a_home_a_program_is_named_on_each_command(program, canary, tmp_path, finish):
    (tmp_path / "config").write_text("no folder can be made here")
    root = tmp_path / "run"
    code, said = finish("table", "--run-dir", root, "--device", f"command:{program}")
    assert canary.exists() and "on each command" in said
    canary.unlink()
    code, said = finish("table", "--run-dir", root)
    assert code == 2 and not canary.exists()


@pytest.mark.parametrize("signature", [None, 5, [], {}, {"signature": 3}, {"signature": "é", "accepted": {}}, "x"])
def test_signatures_of_the_wrong_shape_are_no_signatures(signature, theirs, program, canary, finish):
    root = theirs(device=f"command:{program}")
    record = read_record(RunDir(root).settings, dict)
    write_record(RunDir(root).settings, {**record, "programs": signature})
    code, _ = finish("table", "--run-dir", root)
    assert code == 2 and not canary.exists()


FREE_TEXT_THAT_STARTS_NOTHING = {
    "preset": "a recipe, read as plain YAML; what it names counts as named where the preset is",
    "data": "a folder of images",
    "supernet_from": "a run directory",
    "parent.init": "the name of a network, or a file of weights, which is not unpickled",
    "parent.weights": "a file of weights, which is not unpickled",
    "train.teacher": "the name of a network, or a file of one; docs/teachers.md says what TorchScript can do",
    "train.unlabelled": "a folder of images",
    "reference": "the name of a published network",
    "reference_weights": "a file of weights, which is not unpickled, or a folder of them",
    "training_device": "a name of PyTorch's",
    "budget": "parsed as a number and a unit",
    "device_cores": "checked to be a hexadecimal mask",
    "space": "the name of a space, or a file read as plain YAML",
    "slim.objective": "parsed as names and numbers",
}


def takes_free_text(annotation):
    if annotation is str or annotation is Path:
        return True
    return any(takes_free_text(part) for part in typing.get_args(annotation) if not isinstance(part, str))


def test_every_setting_of_free_text_is_known_to_start_a_program_or_none():
    """A new setting of free text fails this test until it is marked `StartsProgram` or entered above with a reason."""

    def fields(model: type[BaseModel], prefix=""):
        for name, field in model.model_fields.items():
            if isinstance(field.default, BaseModel):
                yield from fields(type(field.default), f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", field

    free = {name for name, field in fields(Settings) if takes_free_text(field.annotation)}
    values = Settings().model_copy(update=dict.fromkeys(free & set(Settings.model_fields), "something"))
    marked = set(program_settings(values))
    assert marked == free - set(FREE_TEXT_THAT_STARTS_NOTHING) == {"device", "device_program", "litert_python"}
    assert free <= set(leaves()) and set(FREE_TEXT_THAT_STARTS_NOTHING) <= free


def test_no_program_is_started_but_by_the_gate():
    """In the pipeline of a run, devices are opened with the options that the gate hands out."""
    pipeline = Path(sys.modules[open_run.__module__].__file__).parents[1]
    calls = {
        str(path.relative_to(pipeline)): path.read_text().count("open_device(")
        for path in pipeline.rglob("*.py")
        if "open_device(" in path.read_text()
    }
    named_on_the_command_line = {"benchmark.py", "analyze.py", "tables/open.py", "shortlists/measure.py"}
    assert set(calls) - named_on_the_command_line == {"run/workspace.py", "slimming/limits.py"}
    for name in ("run/workspace.py", "slimming/limits.py"):
        assert (pipeline / name).read_text().count("device_options") >= 1
    assert isinstance(run, types.FunctionType)
