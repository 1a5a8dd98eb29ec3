"""Boxes, from a classifier's weights to an exported file that scores as PyTorch does and finds boxes in photos."""

from typing import Any

import onnx
import pytest

from efficientformer.arch.dense import OneStage
from efficientformer.arch.spec import Architecture
from efficientformer.models.network import Network
from efficientformer.models.weights.load import architecture_of, save_weights
from efficientformer.reading import read_record

from ..data.boxes.made_boxes import content, write_coco, write_images
from .conftest import SCALE, answer
from .test_parent import SMALL as PARENT

pytest.importorskip("faster_coco_eval")

SHORT = [
    *("--resolution", "24x32", "--detection.fpn-width", "8", "--detection.width", "8", "--detection.depth", "1"),
    *("--train.epochs", "2", "--train.batch-size", "2", "--train.lr-warmup-epochs", "0", "--workers", "0"),
    *("--train.augmentation", "light", "--train.ema-decay", "0", "--training-threads", "1", "--verify.rounds", "40"),
    "--export.no-autotune",
]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Four images for training, of which one has a box outside and one no box, and three for validation."""
    document = content()
    document["annotations"][5]["bbox"] = [30, 2, 30, 10]
    return write_coco(tmp_path_factory.mktemp("sets") / "boxes", document, has_val=True)


@pytest.fixture(scope="module")
def trained(boxes, weights, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "boxes"
    arguments = ("train", "--init", weights, "--data", boxes, "--run-dir", run_dir, *SHORT, "--skip-bad")
    return run_dir, answer(*arguments), arguments


def test_a_classifier_becomes_a_detector(trained):
    run_dir, (said, spoken), _ = trained
    folder = run_dir / "networks" / "small"
    evaluation = read_record(folder / "evaluation.json", Any)
    assert said["box_ap"] == evaluation["box_ap"] and {"ap50", "ap75", "ap_small"} <= evaluation.keys()
    assert [(row["name"], row["num_boxes"]) for row in evaluation["per_class"]] == [("cat", 2), ("dog", 2)]
    examples = read_record(folder / "examples" / "examples.json", Any)
    assert examples["num_images"] in (2, 3), "an image without boxes counts where a box is found in it"
    assert all(len(row["drawings"]) == 1 for group in ("best", "worst") for row in examples[group])
    assert str(architecture_of(folder / "weights.safetensors").head) == "one-stage head 8-8, 1 deep"
    data = read_record(run_dir / "data.json", Any)
    assert data["task"] == "detection" and data["preprocessing"]["crop_ratio"] == 1.0
    (skipped,) = data["skipped"]
    assert 'annotation with id 105 of image "a2.png"' in skipped["file"] and skipped["reason"] in spoken
    assert read_record(run_dir / "settings.json", Any)["preset"] == "detect" and "the head is new" in spoken


def test_a_bad_box_ends_the_command_in_a_line(boxes, weights, program, tmp_path):
    code, _, stderr = program("train", "--init", weights, "--data", boxes, "--run-dir", tmp_path, *SHORT)
    assert code == 1 and "bbox reaches from x 30 to 60, but the image is 40 wide" in stderr and "--skip-bad" in stderr


def test_the_exported_file_scores_as_pytorch_and_finds_boxes(trained, boxes, program, tmp_path):
    run_dir, (said, _), _ = trained
    file = run_dir / "networks" / "small" / "model.onnx"
    (output,) = onnx.load(file).graph.output
    assert output.name == "detections" and [size.dim_value for size in output.type.tensor_type.shape.dim] == [1, 100, 6]
    ((record,), _) = answer("evaluate", file)
    assert record["box_ap"] == pytest.approx(said["box_ap"], abs=0.1) and record["pytorch"] == said["box_ap"]
    assert record["per_class"][0]["num_boxes"] == 2
    write_images(tmp_path / "new", 2)
    predictions, _ = answer("predict", file, tmp_path / "new", "--draw", tmp_path / "drawn")
    assert [entry["file"].rpartition("/")[2] for entry in predictions] == ["a0.png", "a1.png"]
    assert all({"width", "height", "objects", "drawing"} <= entry.keys() for entry in predictions)
    assert (tmp_path / "drawn" / "a1.png").is_file()


def test_settings_of_the_head_train_anew_and_others_do_not(trained, program):
    _, _, arguments = trained
    assert program(*arguments)[2].count("up to date") == 4
    stderr = program(*arguments, "--semantic.width", "64")[2]
    assert stderr.count("up to date") == 4, "of masks, not of boxes"
    code, _, stderr = program(*arguments, "--export.dynamic-batch")
    assert code == 2 and "takes one image at a time: leave out --export.dynamic-batch" in stderr


@pytest.mark.slow
def test_a_detector_is_designed_for_a_budget(boxes, tmp_path):
    """Backbone and head together, from a classifier's weights to a file that was measured with its decoding."""
    weights = tmp_path / "parent.safetensors"
    save_weights(Network(Architecture.from_json(PARENT), num_classes=5, resolution=16), weights)
    options = ["--parent.epochs", "1", "--parent.batch-size", "2", "--table.rounds", "2", "--slim.polish", "2"]
    options += ["--skip-bad", "--device", f"{SCALE} first", "--seed", "1", "--budget", "70%"]
    arguments = ("design", "--init", weights, "--data", boxes, "--run-dir", tmp_path / "run", *SHORT, *options)
    (found,), spoken = answer(*arguments)
    assert found["kept"] and 0 <= found["box_ap"] <= 100 and "top1" not in found
    assert Architecture.from_json(found["architecture"]).head == OneStage(8, 8, 1) and "corrected" not in spoken
