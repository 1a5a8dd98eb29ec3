"""Files of networks for several labels an image: what predict makes of them, and whom they teach."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import RecordError, UsageError
from efficientformer.models.network import Network
from efficientformer.models.weights.load import read_about, save_weights
from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
from efficientformer.tasks.classification.prediction import Predictor
from efficientformer.tasks.teacher_files import open_teacher
from efficientformer.tasks.teacher_onnx import OnnxClassifier

from ..exported import write_classifier, write_image
from ..models.small import SMALL

CLASSES = ("red", "green", "blue")
PREPROCESSING = Preprocessing(8, (0.0,) * 3, (1.0,) * 3, 1.0)


@pytest.mark.parametrize("sigmoid", [False, True])
def test_every_label_above_one_half_is_predicted(tmp_path, sigmoid):
    """A channel from 0 to 1 is its logit: sigmoid(0.2) and sigmoid(0.8); a black one has just one half."""
    predictor = Predictor(write_classifier(tmp_path / "model.onnx", sigmoid=sigmoid, task="multi_label"))
    found = predictor.predict(Image.new("RGB", (8, 8), (51, 0, 204)), "image.png")
    assert found.classes == ("blue", "red") and predictor.gives_probabilities is sigmoid
    assert found.scores == pytest.approx([100 / (1 + math.exp(-0.8)), 100 / (1 + math.exp(-0.2))], rel=1e-4)
    assert [row["class"] for row in found.to_json()["labels"]] == ["blue", "red"] and "top5" not in found.to_json()


def test_an_image_may_have_none_of_the_labels(tmp_path):
    predictor = Predictor(write_classifier(tmp_path / "model.onnx", scale=-1.0, task="multi_label"))
    file = write_image(tmp_path / "white.png", (255, 255, 255))
    (found,), _ = predictor.predict_files([file])
    assert found.classes == () and found.to_json() == {"file": str(file), "labels": []}
    draw_contact_sheet([found], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet).size


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"softmax": True, "task": "multi_label"}, "ends in a softmax, whose classes exclude one another"),
        ({"task": "detection"}, "of its metadata, task"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, options, problem):
    with pytest.raises(RecordError, match=problem) as caught:
        Predictor(write_classifier(tmp_path / "model.onnx", **options))
    assert "\n" not in str(caught.value)


def weights_of(path, **metadata):
    torch.manual_seed(0)
    texts = {"classes": json.dumps(CLASSES), **{name: json.dumps(value) for name, value in metadata.items()}}
    save_weights(Network(SMALL, num_classes=3, resolution=16), path, texts)
    return path


def test_a_teacher_is_of_the_same_task(tmp_path):
    one = weights_of(tmp_path / "one.safetensors")
    several = weights_of(tmp_path / "several.safetensors", task="multi_label")
    assert read_about(several)["task"] == "multi_label" and "task" not in read_about(one)
    assert open_teacher(str(several), CLASSES, PREPROCESSING, "multi_label").logits(torch.zeros(2, 3, 8, 8)).shape == (
        2,
        3,
    )
    for path, task, theirs in ((one, "multi_label", "one label each"), (several, "classification", "several labels")):
        with pytest.raises(UsageError, match=f"is for images with {theirs}"):
            open_teacher(str(path), CLASSES, PREPROCESSING, task)


def test_an_onnx_teacher_says_by_its_last_operator_what_it_answers(tmp_path):
    softmax = write_classifier(tmp_path / "softmax.onnx", softmax=True)
    sigmoid = write_classifier(tmp_path / "sigmoid.onnx", sigmoid=True, task="multi_label")
    with pytest.raises(UsageError, match="is for images with one label each"):
        open_teacher(str(softmax), CLASSES, PREPROCESSING, "multi_label")
    x = torch.rand(2, 3, 8, 8)
    assert torch.allclose(OnnxClassifier(sigmoid)(x), x.mean(dim=(2, 3)), atol=1e-4), "logits again"
