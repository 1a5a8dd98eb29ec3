"""Objects in photos by an exported file, and their drawings."""

import json

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import DataError, RecordError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.detection.drawing import Labelled, color_of, draw_boxes
from efficientformer.tasks.detection.prediction import BoxPredictor, coco_document

GRID = 48, 64
ROWS = [[8.0, 10, 40, 38, 0.9, 1], [0, 0, 64, 48, 0.5, 0], [1, 1, 9, 9, 0.2, 0], [0, 0, 0, 0, 0, -1]]


class Fixed(nn.Module):
    """Finds the same rows in every picture, which it looks at so that the file has an input."""

    def __init__(self, rows):
        super().__init__()
        self.register_buffer("rows", torch.tensor([rows]))

    def forward(self, x):
        return self.rows + 0 * x.mean()


@pytest.fixture
def write(tmp_path):
    def export(rows=ROWS, output_name="detections", classes=("cat", "dog")):
        preprocessing = Preprocessing(GRID, crop_ratio=1.0).to_json()
        values = {"classes": json.dumps(classes), "preprocessing": json.dumps(preprocessing), "task": "detection"}
        export_onnx(Fixed(rows), (1, 3, *GRID), tmp_path / "model.onnx", values, output_name=output_name)
        return tmp_path / "model.onnx"

    return export


def test_boxes_are_those_of_the_photo(write):
    """A photo of 128 x 64 pixels is 64 x 32 in the middle of the input, 8 pixels from above."""
    prediction = BoxPredictor(write()).predict(Image.new("RGB", (128, 64)), "a.jpg")
    assert (prediction.width, prediction.height, prediction.file) == (128, 64, "a.jpg")
    first, second = prediction.objects
    assert (first.name, first.box, first.score) == ("dog", (16, 4, 80, 60), pytest.approx(90))
    assert (second.name, second.box) == ("cat", (0, 0, 128, 64)), "cut at the border of the photo"
    assert prediction.to_json()["objects"][0] == {"class": "dog", "score": first.score, "box": [16, 4, 80, 60]}


def test_a_document_of_predictions_is_coco_json(write):
    predictor = BoxPredictor(write())
    predictions = [predictor.predict(Image.new("RGB", (128, 64)), f"{name}.jpg") for name in "ab"]
    document = coco_document(predictions, predictor.classes)
    assert [image["file_name"] for image in document["images"]] == ["a.jpg", "b.jpg"]
    assert document["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    third = document["annotations"][2]
    assert (third["image_id"], third["category_id"], third["bbox"]) == (2, 2, [16, 4, 64, 56])
    assert third["score"] == pytest.approx(0.9) and len({entry["id"] for entry in document["annotations"]}) == 4


def test_files_of_other_kinds_are_refused_in_a_line(write, tmp_path):
    with pytest.raises(RecordError, match=r"gives logits .*, not detections in rows of 6 numbers. Export it again"):
        BoxPredictor(write(output_name="logits"))
    predictor = BoxPredictor(write(classes=("cat",)))
    with pytest.raises(RecordError, match="finds the class 1, but its metadata name 1"):
        predictor.predict(Image.new("RGB", (64, 48)), "a.jpg")
    broken = BoxPredictor(write([[float("nan")] * 6]))
    with pytest.raises(DataError, match="boxes for it that are not finite"):
        broken.predict(Image.new("RGB", (64, 48)), "a.jpg")
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    Image.new("RGB", (64, 48)).save(tmp_path / "yes.png")
    found, skipped = BoxPredictor(write()).predict_files([tmp_path / "no.jpg", tmp_path / "yes.png"])
    assert len(found) == 1 and [path.name for path, _ in skipped] == ["no.jpg"]
    assert onnx.load(tmp_path / "model.onnx").graph.output[0].name == "detections"


def test_a_drawing_has_the_box_and_its_name():
    photo = Image.new("RGB", (240, 160), (128, 128, 128))
    drawing = draw_boxes(photo, [Labelled((60.0, 40.0, 180.0, 120.0), 1, "dog 90 %")])
    assert drawing.size == (960, 640), "small photos are enlarged"
    is_colored = (np.asarray(drawing) == color_of(1)).all(axis=2)
    rows, columns = np.flatnonzero(is_colored.any(axis=1)), np.flatnonzero(is_colored.any(axis=0))
    assert (columns.min(), columns.max()) == (240, 719) and rows.max() == 479
    assert rows.min() == 160 - 21, "the name stands on the box"
    assert is_colored[300, 241] and not is_colored[300, 300], "the line, not the area"
    assert (np.asarray(photo) == 128).all(), "the photo stays as it is"


def test_names_stay_in_the_drawing_and_apart():
    objects = [Labelled((0.0, 0.0, 100.0, 60.0), number, f"class {number}") for number in range(3)]
    drawing = draw_boxes(Image.new("RGB", (960, 640)), objects, Lettering(("class 012",), 15))
    tops = []
    for number in range(3):
        is_colored = (np.asarray(drawing) == color_of(number)).all(axis=2)
        filled = np.flatnonzero(is_colored[:, 4:40].sum(axis=1) > 10)
        tops.append(int(filled.min()))
    assert len(set(tops)) == 3 and min(tops) >= 0
    assert draw_boxes(Image.new("RGB", (20, 4000)), objects[:1]).size == (8, 1600)
