import json
import subprocess
import sys

import pytest

from efficientformer import __version__
from efficientformer.cli.app import VERBS, run


@pytest.mark.parametrize("verb", [verb.__name__ for verb in VERBS])
def test_every_verb_explains_itself_with_examples(verb, capsys):
    assert run([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"efficientformer {verb}" in text and "For example" in text
    assert "--json" in text


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_the_package_runs_as_a_module():
    asked = [sys.executable, "-m", "efficientformer", "design", "--budget", "8"]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "write 8ms, 800us or 40%" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["design", "--train.epoch", "3"], "Did you mean --train.epochs"),
        (["design", "--train.epochs", "many"], "cannot be used: train.epochs: Input should be a valid integer"),
        (["slim", "--slim.metric", "loss"], "Input should be 'likelihood', 'top1', 'mean_ap', 'box_ap' or 'miou'"),
        (["slim", "--slim.lazy", "--slim.workers", "2"], "slim: lazy scores the candidates of a step one after"),
        (["design", "--budget", "8"], "write 8ms, 800us or 40%"),
        (["design", "--runtime", "caffe"], "onnxruntime"),
        (["design", "--config", "absent.yaml"], "absent.yaml does not exist"),
        (["desing"], "design"),
        (["report", "nowhere"], "is not a run directory"),
        (["predict", "nowhere.onnx", "a.png"], "nowhere.onnx is not a file"),
        (
            ["train", "--run-dir", "empty"],
            "table.json is missing or not finished. Run 'efficientformer table --run-dir empty'",
        ),
    ],
)
def test_a_wrong_request_is_one_clear_error_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error ") and captured.err.count("\n") == 1
    assert message in captured.err and "pydantic" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("data", "message"), [("absent", "absent"), ("hollow", "hollow")], ids=["no such folder", "an empty folder"]
)
def test_unusable_images_are_a_stated_failure(data, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hollow").mkdir()
    assert run(["table", "--data", data]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_model_without_class_names_is_refused(tmp_path, capsys):
    path = tmp_path / "text.onnx"
    path.write_text("hello")
    assert run(["predict", str(path), str(tmp_path)]) == 1
    assert "text.onnx" in capsys.readouterr().err


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = "import sys\nfrom efficientformer.cli.app import run\nrun(['--help'])\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_settings_given_once_are_remembered_by_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "settings.yaml"
    config.write_text("train: {epochs: 7}\nseed: 3\n")
    assert run(["train", "--run-dir", "r", "--config", str(config), "--seed", "4"]) == 2
    assert run(["train", "--run-dir", "r", "--train.lr", "0.5"]) == 2
    saved = json.loads((tmp_path / "r" / "settings.json").read_text())
    assert (saved["train"]["epochs"], saved["seed"], saved["train"]["lr"]) == (7, 4, 0.5)
    assert saved["given"] == {"train": {"epochs": 7, "lr": 0.5}, "seed": 4}
    capsys.readouterr()


def test_two_folders_of_one_name_do_not_share_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "--data", "a/photos"]) == 2
    assert run(["train", "--data", "a/photos"]) == 2
    assert "holds a run on" not in capsys.readouterr().err
    assert run(["train", "--data", "b/photos"]) == 2
    assert "holds a run on" in capsys.readouterr().err


def test_a_settings_record_that_is_none_is_named(tmp_path, capsys):
    (tmp_path / "settings.json").write_text("[]")
    assert run(["train", "--run-dir", str(tmp_path)]) == 1
    assert "settings.json cannot be used" in capsys.readouterr().err.replace("\n", " ")
