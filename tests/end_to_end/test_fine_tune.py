"""Fine-tuning a published network on small real images: from a file of weights to an exported network."""

import json
from typing import Any

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from efficientformer.models.create import create_model
from efficientformer.models.weights.timm_names import timm_state_dict
from efficientformer.reading import read_record

from .conftest import answer

pytestmark = pytest.mark.slow

SHORT = [
    *("--resolution", "64", "--train.epochs", "2", "--train.batch-size", "24", "--workers", "0"),
    *("--train.lr-warmup-epochs", "0", "--train.ema-decay", "0", "--training-threads", "1"),
]
NAME = "efficientformerv2_s0"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Weights as others name them, with a head of 1000 classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "s0.pth"
    torch.save(timm_state_dict(create_model(NAME, has_distillation_head=True)), path)
    return path


@pytest.fixture(scope="module")
def tuned(photos, published, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "fine"
    arguments = ("--init", NAME, "--weights", published, "--data", photos, "--run-dir", run_dir)
    said, _ = answer("train", *arguments, *SHORT, "--train.frozen-epochs", "1")
    return run_dir, said, arguments


def test_it_is_trained_scored_and_exported(tuned):
    run_dir, said, _ = tuned
    folder = run_dir / "networks" / NAME
    assert said["init"] == NAME and said["top1"] == read_record(folder / "evaluation.json", Any)["top1"]
    assert said["epochs"] == 2 and read_record(folder / "export.json", Any)["max_abs_difference"] <= 1e-3
    low, high = said["measured_interval_ms"]
    assert 0 < low <= said["measured_ms"] <= high and (folder / "latency.json").exists()
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["across", "down", "flat"]
    assert session.get_inputs()[0].shape == [1, 3, 64, 64] and not (folder / "checkpoint.pt").exists()


def test_the_same_command_finds_it_done(tuned, program):
    _, _, arguments = tuned
    _, _, stderr = program("train", *arguments)
    assert stderr.count("up to date") == 4, stderr


def test_its_run_directory_is_scored_and_exported_without_a_search(tuned, program):
    run_dir, said, _ = tuned
    folder = run_dir / "networks" / NAME
    (folder / "evaluation.json").unlink()
    for verb, state in (("evaluate", "again"), ("export", "up to date")):
        ((record,), stderr) = answer(verb, "--run-dir", run_dir)
        assert f"{verb} {NAME}" in stderr and ("up to date" in stderr) == (state == "up to date"), stderr
        assert verb == "export" or (record["network"], record["top1"]) == (NAME, said["top1"])
    code, _, stderr = program("evaluate", "--run-dir", run_dir, "--train.epochs", "3")
    assert code == 2 and "train.epochs changed from 2 to 3" in stderr and "train --init" in stderr
    answer("evaluate", "--run-dir", run_dir, "--train.epochs", "2")


def test_frozen_epochs_train_the_head_alone(program, photos, published, tmp_path):
    arguments = ("--init", NAME, "--weights", published, "--data", photos, "--run-dir", tmp_path)
    _, _, stderr = program("train", *arguments, *SHORT, "--train.frozen-epochs", "2")
    before = create_model(NAME, pretrained=published, num_classes=3, resolution=64, with_head=False).state_dict()
    after = load_file(tmp_path / "networks" / NAME / "weights.safetensors")
    changed = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == {"head"}, stderr


def test_a_network_that_a_run_trained_is_tuned_further(tuned, program, photos, tmp_path):
    weights = tuned[0] / "networks" / NAME / "weights.safetensors"
    arguments = ("train", "--init", weights, "--data", photos, "--run-dir", tmp_path, *SHORT[2:], "--resolution", "32")
    code, stdout, stderr = program(*arguments, "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["init"] == NAME
    assert read_record(tmp_path / "networks" / NAME / "architecture.json", Any)["resolution"] == 32


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--init", "efficientformer_l9"), "neither a file of weights nor a published network"),
        (("--weights", "x.pth"), "--weights goes with --init"),
        (("--init", "efficientformer_l1", "--weights", "absent.pth"), "absent.pth"),
    ],
)
def test_what_cannot_be_tuned_is_said(program, photos, tmp_path, arguments, says):
    code, _, stderr = program("train", *arguments, "--data", photos, "--run-dir", tmp_path)
    assert code in (1, 2) and says in stderr and "Traceback" not in stderr
