"""Masks of objects, from a classifier's weights to an exported file that scores as PyTorch does and draws them."""

import json
from typing import Any

import onnx
import pytest

from efficientformer.models.weights.load import architecture_of
from efficientformer.reading import read_record

from ..data.boxes.made_boxes import content, write_coco, write_images
from ..data.boxes.test_instances import with_shapes
from .conftest import answer

pytest.importorskip("faster_coco_eval")

SHORT = [
    *("--task", "instance", "--resolution", "24x32", "--instance.fpn-width", "8", "--instance.width", "8"),
    *("--instance.box-width", "8", "--instance.proposals", "8", "--train.epochs", "2", "--train.batch-size", "2"),
    *("--train.lr-warmup-epochs", "0", "--workers", "0", "--train.augmentation", "light", "--train.ema-decay", "0"),
    *("--training-threads", "1", "--verify.rounds", "40", "--export.no-autotune"),
]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Four images for training, of which one object has no shape and one image no object, and three for validation."""
    root = write_coco(tmp_path_factory.mktemp("sets") / "shapes", with_shapes(), has_val=True)
    for part, document in (("train", with_shapes()), ("val", with_shapes(content(3, start=4)))):
        if part == "train":
            del document["annotations"][5]["segmentation"]
        (root / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="module")
def trained(shapes, weights, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "shapes"
    arguments = ("train", "--init", weights, "--data", shapes, "--run-dir", run_dir, *SHORT, "--skip-bad")
    return run_dir, answer(*arguments), arguments


def test_a_classifier_becomes_a_mask_rcnn(trained):
    run_dir, (said, spoken), _ = trained
    folder = run_dir / "networks" / "small"
    evaluation = read_record(folder / "evaluation.json", Any)
    assert said["mask_ap"] == evaluation["mask_ap"] and {"mask_ap50", "box_ap", "ap50"} <= evaluation.keys()
    assert [(row["name"], row["num_boxes"]) for row in evaluation["per_class"]] == [("cat", 2), ("dog", 2)]
    assert str(architecture_of(folder / "weights.safetensors").head) == "Mask R-CNN 8-8-8, 8 proposals"
    examples = read_record(folder / "examples" / "examples.json", Any)
    assert examples["num_images"] in (2, 3), "an image without objects counts where one is found in it"
    drawings = [row["drawings"] for group in ("best", "worst") for row in examples[group]]
    assert all((folder / "examples" / name).is_file() for (name,) in drawings) and drawings
    data = read_record(run_dir / "data.json", Any)
    (skipped,) = data["skipped"]
    assert data["task"] == "instance" and "segmentation is missing" in skipped["reason"]
    assert read_record(run_dir / "settings.json", Any)["preset"] == "instances" and "the head is new" in spoken


def test_the_exported_file_scores_as_pytorch_and_finds_masks(trained, tmp_path):
    run_dir, (said, _), _ = trained
    file = run_dir / "networks" / "small" / "model.onnx"
    (output,) = onnx.load(file).graph.output
    assert output.name == "objects" and [size.dim_value for size in output.type.tensor_type.shape.dim] == [1, 100, 790]
    ((record,), _) = answer("evaluate", file)
    assert record["mask_ap"] == pytest.approx(said["mask_ap"], abs=0.1) and record["pytorch"] == said["mask_ap"]
    assert record["box_ap"] == pytest.approx(read_record(file.with_name("evaluation.json"), Any)["box_ap"], abs=0.1)
    write_images(tmp_path / "new", 1)
    (entry,), _ = answer("predict", file, tmp_path / "new", "--draw", tmp_path / "drawn")
    assert {"width", "height", "objects", "drawing"} <= entry.keys() and (tmp_path / "drawn" / "a0.png").is_file()


def test_settings_of_the_head_train_anew_and_those_of_boxes_do_not(trained, program):
    _, _, arguments = trained
    assert program(*arguments, "--detection.width", "64")[2].count("up to date") == 4
    code, _, stderr = program(*arguments, "--export.dynamic-batch")
    assert code == 2 and "takes one image at a time: leave out --export.dynamic-batch" in stderr


@pytest.mark.parametrize("verb", ["design", "table"])
def test_what_has_no_search_is_refused_in_a_line(shapes, weights, program, tmp_path, verb):
    init = ("--init", weights) if verb == "design" else ()
    code, _, stderr = program(verb, *init, "--data", shapes, "--task", "instance", "--run-dir", tmp_path, "--skip-bad")
    (line,) = [line for line in stderr.splitlines() if line.startswith("error")]
    assert code == 2 and "trained and evaluated only: train --task instance" in line and "--task detection" in line


def test_a_teacher_has_no_student(shapes, weights, program, tmp_path):
    teacher = ("--teacher", weights, "--run-dir", tmp_path, "--skip-bad")
    code, _, stderr = program("train", "--init", weights, "--data", shapes, *SHORT, *teacher)
    assert code == 2 and "has no student: Mask R-CNN is trained and evaluated only" in stderr
