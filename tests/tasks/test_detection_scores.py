"""Average precision by hand and as pycocotools has it, the kind of task, and the exported form."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from efficientformer.arch.dense import OneStage
from efficientformer.arch.spec import MB3D
from efficientformer.arch.zoo import build_architecture
from efficientformer.data.boxes.joint import FRAME, IGNORED, padded
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import DataError, TrainingError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.exporting.parity import onnx_output
from efficientformer.models.create import create_model
from efficientformer.models.heads.decoding import Detector, decode
from efficientformer.tasks.detection.kind import BOXES
from efficientformer.tasks.detection.precision import NAMES, average_precisions
from efficientformer.tasks.detection.scores import BoxCount

pytest.importorskip("faster_coco_eval")

SIDE, NUM_CLASSES = 64, 2
NUM_CELLS = 8 * 8 + 4 * 4 + 2 * 2 + 1


class Fixed(nn.Module):
    """Answers with outputs, image by image, whatever the images are."""

    def __init__(self, outputs):
        super().__init__()
        self.register_parameter("outputs", nn.Parameter(outputs))
        self.first = 0

    def forward(self, x):
        self.first += len(x)
        return self.outputs[self.first - len(x) : self.first]


def labels(*images):
    frame = [FRAME, 0, 0, SIDE, SIDE]
    return padded([torch.tensor([frame, *rows], dtype=torch.float32) for rows in images])


def nothing(num_images):
    """Outputs of a network that finds nothing."""
    outputs = torch.full((num_images, NUM_CELLS, 5 + NUM_CLASSES), -20.0)
    outputs[..., :4] = 1.0
    return outputs


def found(outputs, image, cell, box, number, sureness=4.0):
    """Let the cell at (column, row) of the finest level find a box."""
    column, row = cell
    x, y = 8 * column + 4, 8 * row + 4
    x1, y1, x2, y2 = box
    place = outputs[image, 8 * row + column]
    place[:4] = torch.tensor([x - x1, y - y1, x2 - x, y2 - y])
    place[4], place[5 + number] = 20.0, sureness


def test_average_precision_by_hand():
    """Class 0: one of two boxes is found exactly. Class 1: found with an intersection over union of 0.6, so at three of
    ten overlaps."""
    outputs = nothing(2)
    found(outputs, 0, (1, 1), (0, 0, 20, 20), 0)
    found(outputs, 1, (4, 4), (30, 30, 50, 42), 1)
    boxes = labels([(0, 0, 0, 20, 20)], [(0, 2, 2, 12, 12), (1, 30, 30, 50, 50)])
    scores = BOXES.evaluate(Fixed(outputs), [(torch.zeros(2, 3, SIDE, SIDE), boxes)], NUM_CLASSES)
    half = 100 * 51 / 101  # recall is read at 101 points
    assert scores.precisions.of_classes == pytest.approx((half, 30.0))
    assert scores.primary == scores.box_ap == pytest.approx((half + 30) / 2)
    assert scores.precisions.ap50 == pytest.approx((half + 100) / 2) and scores.precisions.ap75 == pytest.approx(
        half / 2
    )
    record = scores.to_record(["cat", "dog"])
    assert record["box_ap"] == scores.box_ap and record["num_images"] == 2 and "ap_large" not in record
    assert record["per_class"][0] == {"name": "cat", "ap": pytest.approx(half), "num_images": 2, "num_boxes": 2}


def test_what_is_found_in_a_crowd_of_its_class_is_no_mistake():
    outputs = nothing(1)
    found(outputs, 0, (1, 1), (0, 0, 20, 20), 0)
    found(outputs, 0, (5, 5), (40, 40, 56, 56), 0, sureness=9.0)
    one, crowd = (0, 0, 0, 20, 20), (32, 32, 64, 64)
    for number, expected in ((0, 100.0), (1, 50.0)):
        count = BoxCount()
        count.add(outputs, labels([one, (IGNORED - number, *crowd)]))
        assert count.scores().precisions.of_classes[0] == pytest.approx(expected, abs=0.6)
        assert count.scores().num_boxes == (1, 0)


def test_areas_are_those_of_pictures_at_their_own_size():
    """A picture of 256 x 128 pixels lies in the input at a quarter of its size: 20 x 20 pixels there are 80 x 80, which
    is no small object, and a box that reaches into the ground below the picture ends at its border."""
    outputs = nothing(1)
    found(outputs, 0, (1, 3), (0, 16, 20, 60), 0)
    rows = [[FRAME, 0, 0, SIDE, SIDE, 256], [FRAME, 0.25, 0.25, 0, 16, 128], [0, 0, 16, 20, 48, 6400]]
    count = BoxCount()
    count.add(outputs, torch.tensor([rows]))
    scores = count.scores().precisions
    assert (scores.ap_small, scores.ap_medium) == (None, 100.0) and scores.box_ap == 100.0
    count = BoxCount()
    count.add(outputs, torch.tensor([[rows[0][:5], rows[2][:5]]]))
    assert count.scores().precisions.ap_medium is None and count.scores().precisions.ap_small == 50.0


def test_nothing_to_find_and_nothing_found():
    count = BoxCount()
    count.add(nothing(1), labels([]))
    assert count.best(3) == 100.0
    with pytest.raises(DataError, match="None of the images that score has a box"):
        count.best(0)
    count.add(nothing(1), labels([(0, 0, 0, 20, 20)]))
    assert count.best(0) == 0.0
    assert average_precisions({"images": [{"id": 1}], "annotations": [], "categories": [{"id": 0}]}, []).box_ap is None


def test_outputs_must_be_finite():
    outputs = nothing(2)
    outputs[1, 3, 2] = torch.nan
    with pytest.raises(TrainingError, match="not finite for 1 of 2 images"):
        BOXES.evaluate(Fixed(outputs), [(torch.zeros(2, 3, SIDE, SIDE), labels([], []))], NUM_CLASSES)


def made(num_images=30, seed=0):
    """Random objects with crowds, and random detections around them and elsewhere, as COCO has them."""
    rng = np.random.default_rng(seed)
    images = [{"id": 5 + image, "width": 300, "height": 200} for image in range(num_images)]
    annotations, detections = [], []
    for image in images:
        for _ in range(rng.integers(0, 6)):
            x, y, width, height = *rng.uniform(0, 150, 2), *rng.uniform(5, 140, 2)
            category = int(rng.choice([2, 3, 9]))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image["id"], "category_id": category}
                | {"bbox": [x, y, width, height], "area": width * height, "iscrowd": int(rng.random() < 0.1)}
            )
            for _ in range(rng.integers(0, 3)):
                box = [float(value) for value in (x, y, width, height) * rng.uniform(0.9, 1.1, 4)]
                score = float(rng.random())
                detections.append({"image_id": image["id"], "category_id": category, "bbox": box, "score": score})
    return {"images": images, "annotations": annotations, "categories": [{"id": 2}, {"id": 3}, {"id": 9}]}, detections


def test_the_scores_are_those_of_pycocotools(tmp_path, capsys):
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    truth, detections = made()
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "detections.json").write_text(json.dumps(detections))
    objects = coco.COCO(str(tmp_path / "truth.json"))
    run = cocoeval.COCOeval(objects, objects.loadRes(str(tmp_path / "detections.json")), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    own = average_precisions(truth, detections)
    assert [getattr(own, name) for name in NAMES] == pytest.approx(100 * run.stats[:6], abs=1e-6)
    precision = run.eval["precision"][:, :, :, 0, -1]
    of_classes = [100 * precision[:, :, index][precision[:, :, index] > -1].mean() for index in range(3)]
    assert own.of_classes == pytest.approx(of_classes, abs=1e-6) and 5 < own.box_ap < 95


def test_without_the_package_there_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(UsageError, match=r"needs faster-coco-eval: pip install 'efficientformer\[detection\]'"):
        BOXES.evaluate(Fixed(nothing(1)), [], NUM_CLASSES)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    architecture = build_architecture((8, 16, 24, 32), (1, 1, 1, 1), 1, mb3d=MB3D(2, 2, 8, 2))
    model = create_model(replace(architecture, head=OneStage(16, 16, 1)), num_classes=NUM_CLASSES, resolution=SIDE)
    return model.eval()


class Wider(nn.Module):
    """The network with boxes of several times the size, most of which overlap."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        outputs = self.network(x)
        return torch.cat([6 * outputs[..., :4], outputs[..., 4:]], dim=2)


@torch.no_grad()
def test_the_exported_file_finds_what_the_network_finds(network, tmp_path):
    wider, x = Wider(network), torch.randn(1, 3, SIDE, SIDE)
    detector = Detector(wider, (SIDE, SIDE))
    export_onnx(detector, (1, 3, SIDE, SIDE), tmp_path / "model.onnx", output_name="detections")
    (kept,) = decode(wider(x), (SIDE, SIDE))
    own, exported = detector(x), torch.from_numpy(onnx_output(tmp_path / "model.onnx", x.numpy()))
    assert own.shape == exported.shape == (1, 100, 6)
    assert torch.equal(own[0, : len(kept.scores), :4], kept.boxes) and not own[0, len(kept.scores) :, :5].any()
    assert torch.allclose(exported, own, atol=1e-4)
    assert 3 < len(kept.scores) < 100, "some boxes are dropped, and some rows are left over"
    assert (exported[0, len(kept.scores) :, 5] == -1).all()


def test_a_step_of_training_moves_every_part_of_the_network(network):
    x, boxes = torch.randn(2, 3, SIDE, SIDE), labels([(0, 4, 4, 30, 30)], [(1, 20, 20, 60, 60), (0, 1, 1, 8, 8)])
    mixing = BOXES.mixing(None, 0.1, is_weighted=False)  # type: ignore[arg-type]
    network.train()
    BOXES.task(mixing).loss(network, Batch(x, boxes), 0.0).backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    network.eval()
    assert not [name for name in without if "layer_scale" not in name and "bias" not in name], without


def test_the_kind_has_its_answers():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(2, NUM_CELLS, 5 + NUM_CLASSES, generator=generator) for _ in range(2))
    one[..., :4], other[..., :4] = one[..., :4].abs(), other[..., :4].abs()
    boxes = labels([(0, 4, 4, 30, 30)], [])
    assert torch.equal(BOXES.targets(boxes), boxes)
    assert BOXES.loss(one, BOXES.answers(one)) < BOXES.loss(other, BOXES.answers(one))
    decided = BOXES.decisions(one)
    assert set(decided[..., 5:].unique().tolist()) == {0.0, 1.0} and torch.equal(
        decided[..., :5], BOXES.answers(one)[..., :5]
    )
    assert BOXES.divergence(one, one.clone(), 2.0) == pytest.approx(0.0, abs=1e-5)
    assert BOXES.divergence(other, one, 2.0) > 0.1
    sums = [BOXES.loss(one[index : index + 1], boxes[index : index + 1], reduction="sum") for index in range(2)]
    assert BOXES.loss(one, boxes, reduction="sum") == pytest.approx(float(sum(sums)), rel=1e-5)
    assert torch.allclose(BOXES.losses_at(torch.tensor([1.0]), one, boxes)[0], torch.stack(sums), rtol=1e-5)
    for refused in ({"is_weighted": True}, {"is_weighted": False, "mixup": 0.2}, {"is_weighted": False, "cutmix": 1.0}):
        with pytest.raises(UsageError):
            BOXES.mixing(None, 0.0, **refused)  # type: ignore[arg-type]
