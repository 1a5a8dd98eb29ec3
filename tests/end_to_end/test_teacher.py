"""Training by a teacher from the command line: recorded, resumed, exported with one head, and trained further."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.loading.loader import View, eval_batches
from efficientformer.data.transforms import Preprocessing, eval_transform
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import load_network, save_weights
from efficientformer.reading import read_record

from ..models.small import SMALL_V2
from .conftest import answer

pytestmark = pytest.mark.slow

SHORT = [
    *("--resolution", "32", "--train.epochs", "2", "--train.batch-size", "24", "--workers", "0"),
    *("--train.lr-warmup-epochs", "0", "--train.frozen-epochs", "0", "--training-threads", "1"),
    *("--export.no-autotune",),
]


def weights(folder: Path, classes=("across", "down", "flat"), seed=0) -> Path:
    """A file of ours of a small network with new weights."""
    torch.manual_seed(seed)
    path = folder / f"small{seed}" / "weights.safetensors"
    path.parent.mkdir()
    network = create_model(SMALL_V2, num_classes=len(classes), resolution=32)
    network.preprocessing = Preprocessing(32).to_json()
    save_weights(network, path, {"classes": json.dumps(list(classes))})
    return path


@pytest.fixture(scope="module")
def init(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("init"))


@pytest.fixture(scope="module")
def teacher(photos, init, tmp_path_factory):
    """The ONNX file of a network that a run trained."""
    run_dir = tmp_path_factory.mktemp("runs") / "teacher"
    answer("train", "--init", init, "--data", photos, "--run-dir", run_dir, *SHORT)
    return run_dir / "networks" / "small0"


def train(program, init, photos, run_dir, *more):
    arguments = ("train", "--init", init, "--data", photos, "--run-dir", run_dir, *SHORT, *more)
    code, stdout, stderr = program(*arguments, "--json")
    assert code == 0, stderr
    return json.loads(stdout), stderr


def test_both_heads_are_kept_and_merged_at_export(program, photos, init, teacher, tmp_path):
    said, _ = train(
        program, init, photos, tmp_path / "run", "--teacher", teacher / "model.onnx", "--distillation", "hard"
    )
    folder = tmp_path / "run" / "networks" / "small0"
    assert said["teacher"] == str(teacher / "model.onnx") and said["distillation"] == "hard"
    tensors = load_file(folder / "weights.safetensors")
    assert not torch.equal(tensors["head.weight"], tensors["head_dist.weight"])
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert len(session.get_outputs()) == 1
    dataset = load_image_folder(photos)
    network = load_network(folder / "weights.safetensors").eval()
    right = [0, 0]
    for x, y in eval_batches(dataset.val, View(eval_transform(Preprocessing(32))), batch_size=1):
        ours, theirs = network(x), session.run(None, {"images": x.numpy()})[0]
        assert np.allclose(ours.detach().numpy(), theirs, atol=1e-3)
        right[0] += int(ours.argmax()) == int(y)
        right[1] += int(theirs.argmax()) == int(y)
    top1 = read_record(folder / "evaluation.json", Any)["top1"]
    assert right[0] == right[1] and top1 == pytest.approx(100 * right[0] / len(dataset.val))
    further, _ = train(program, folder / "weights.safetensors", photos, tmp_path / "further", "--teacher", "none")
    assert further["head"] == "kept" and "teacher" not in further


def test_a_killed_training_ends_with_the_same_bits(program, command, photos, init, teacher, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for index, path in enumerate(sorted((photos / "train" / "down").glob("*.png"))):
        shutil.copyfile(path, more / f"{index}.png")
    arguments = ("--teacher", teacher / "weights.safetensors", "--distillation", "features", "--unlabelled", more)
    said, _ = train(program, init, photos, tmp_path / "whole", *arguments)
    assert said["num_unlabelled"] == 24
    killed = tmp_path / "killed"
    process = command("train", "--init", init, "--data", photos, "--run-dir", killed, *SHORT, *arguments)
    while process.poll() is None and not (killed / "networks" / "small0" / "metrics.jsonl").exists():
        time.sleep(0.05)
    process.kill()
    process.communicate()
    train(program, init, photos, killed, *arguments)
    folders = (tmp_path / "whole", killed)
    files = [load_file(folder / "networks" / "small0" / "weights.safetensors") for folder in folders]
    assert all(torch.equal(tensor, files[1][name]) for name, tensor in files[0].items())
    assert not any("adapters" in name for name in files[0])
    _, stderr = train(program, init, photos, killed)
    assert stderr.count("up to date") == 4, "both are remembered"
    _, stderr = train(program, init, photos, killed, "--unlabelled", "none")
    assert "the unlabelled images is no longer used" in stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--unlabelled", "MORE"), "--unlabelled photographs are learned from a teacher alone"),
        (("--teacher", "FILE", "--unlabelled", "absent"), "absent is not a folder"),
        (("--teacher", "absent.onnx"), "does not exist"),
        (("--teacher", "OTHER"), "does not know the class 'across' and 2 more of the images"),
        (("--teacher", "MORE.onnx", "--distillation", "firm"), "firm"),
    ],
)
def test_what_cannot_teach_is_one_line(program, photos, init, tmp_path, arguments, says):
    other = weights(tmp_path, ("cat", "dog", "owl"), seed=3)
    named = {"FILE": init, "OTHER": other, "MORE": photos}
    arguments = [named.get(argument, argument) for argument in arguments]
    code, _, stderr = program("train", "--init", init, "--data", photos, "--run-dir", tmp_path / "run", *arguments)
    line = stderr[stderr.index("error") :]
    assert code in (1, 2) and says in line and len(line.strip().splitlines()) == 1, stderr


def test_design_refuses_a_wrong_teacher_before_it_measures(program, photos, tmp_path):
    other = weights(tmp_path, ("cat", "dog", "owl"), seed=3)
    code, _, stderr = program("design", "--data", photos, "--run-dir", tmp_path / "run", "--teacher", other)
    assert code == 2 and "does not know the class" in stderr and not (tmp_path / "run" / "table.json").exists()
    assert "table" not in stderr


def test_the_split_of_unlabelled_images_has_no_labels(photos):
    from efficientformer.data.unlabelled import load_unlabelled

    found = load_unlabelled(photos)
    assert isinstance(found.images, ImageSplit) and set(found.images.labels) == {-1} and len(found.images) == 96
    assert [skipped.file for skipped in found.skipped] == ["train/flat/broken.png"]
