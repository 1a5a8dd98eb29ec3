"""Shapes of objects: which are refused, and where they lie in the input."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.boxes.instances import PlacedObjects, ScoredInstances, TrainInstances
from efficientformer.data.boxes.load import load_boxes
from efficientformer.data.boxes.objects import Instance, Objects
from efficientformer.data.boxes.placement import Placement
from efficientformer.data.boxes.shapes import mask_of, placed_mask, run_lengths_of
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import DataError

from .made_boxes import BOXES, SIZE, content, write_coco, write_yolo

pytest.importorskip("faster_coco_eval")
coco_mask = pytest.importorskip("pycocotools.mask")

GRID = 24, 32
POLYGON = [5.0, 3.0, 30.0, 8.0, 18.0, 25.0]


def with_shapes(document=None):
    """Every object has the rectangle of its box as its shape: a polygon, of dogs run lengths."""
    document = document or content()
    for annotation in document["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
        if annotation["category_id"] == 7:
            annotation["segmentation"] = run_lengths_of(mask_of(annotation["segmentation"], SIZE))
    return document


def shape(value):
    return lambda document: document["annotations"][2].update(segmentation=value)


PROBLEMS = {
    "no shape": (
        lambda document: document["annotations"][2].pop("segmentation"),
        "segmentation is missing, and --task instance needs polygons or run lengths; add it, or use --task detection",
    ),
    "no polygon": (shape([]), "segmentation is missing"),
    "outside": (
        shape([[1, 2, 9, 2, 9, 8], [50, 2, 60, 2, 60, 9]]),
        "segmentation.1 reaches from x 50 to 60, but the image is 40 wide",
    ),
    "flat": (shape([[1, 2, 9, 2, 5, 2]]), "segmentation.0 is 8 wide and 0 high, so it holds nothing"),
    "no pixel": (shape({"size": [30, 40], "counts": [1200]}), "segmentation.counts have no pixel of the object"),
    "two points": (shape([[1, 2, 3, 4]]), "segmentation.0 has 2 points, and a polygon needs 3 or more"),
    "of another size": (
        shape({"size": [40, 30], "counts": [1200]}),
        r"segmentation.size is \[40, 30\], not .*\[30, 40\]",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_shape_that_cannot_be_used_is_a_line_and_can_be_left_out(tmp_path, name):
    damage, expected = PROBLEMS[name]
    document = with_shapes()
    damage(document)
    root = write_coco(tmp_path, document)
    with pytest.raises(DataError, match='annotation with id 102 of image "a1.png": ' + expected) as error:
        load_boxes(root, needs_masks=True)
    assert str(error.value).count("\n") == 1
    dataset = load_boxes(root, needs_masks=True, skip_bad=True)
    assert dataset.task == "instance" and len(dataset.skipped) == 1
    labels = [*dataset.train.labels, *dataset.val.labels]
    assert sum(len(label.instances) for label in labels) == len(document["annotations"]) - 1


def test_lines_of_yolo_files_need_polygons(tmp_path):
    root = write_yolo(tmp_path)
    with pytest.raises(DataError, match="line 1: it is a box, and --task instance needs polygons; give one, or use"):
        load_boxes(root, needs_masks=True)
    for path in (root / "labels" / "train").glob("*.txt"):
        path.write_text("0 0.1 0.2 0.6 0.2 0.6 0.8\n")
    dataset = load_boxes(root, needs_masks=True)
    ((polygon,),) = {tuple(map(tuple, label.instances[0].segmentation)) for label in dataset.train.labels[:1]}
    assert polygon == pytest.approx((4, 6, 24, 6, 24, 24))


@pytest.mark.parametrize("segmentation", [[POLYGON], [POLYGON, [1, 1, 4, 1, 4, 28, 1, 28]]], ids=["one", "two"])
def test_masks_are_those_of_pycocotools(segmentation):
    width, height = SIZE
    expected = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    mask_HW = mask_of(segmentation, SIZE)
    assert np.array_equal(mask_HW, coco_mask.decode(expected)) and mask_HW.any()
    encoded = run_lengths_of(mask_HW)
    assert encoded == {"size": [30, 40], "counts": expected["counts"].decode()}
    assert np.array_equal(mask_of(encoded, SIZE), mask_HW)


@pytest.mark.parametrize("is_run_lengths", [False, True], ids=["polygon", "run lengths"])
def test_a_rectangle_is_where_the_picture_was_placed(is_run_lengths):
    """Twice the size, 8 pixels to the left of the input's edge and 10 below its top."""
    x, y, width, height = BOXES[0]
    rectangle = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    given = run_lengths_of(mask_of(rectangle, SIZE)) if is_run_lengths else rectangle
    mask_HW = placed_mask(given, SIZE, Placement(2.0, 2.0, -8, 10), (40, 48))
    expected = np.zeros((40, 48), np.uint8)
    expected[22:46, 0:40] = 1
    assert np.array_equal(mask_HW, expected)


def pictures_of_objects(seed):
    """A dark picture with a bright triangle, whose label is the triangle and a crowd, and what training makes of it. In
    every other one the label is of a picture of twice the size, which was opened at half of it."""
    mask_HW, scale = mask_of([POLYGON], SIZE), 1 + seed % 2
    box, polygon = (5.0 * scale, 3.0 * scale, 30.0 * scale, 25.0 * scale), [scale * value for value in POLYGON]
    everywhere = run_lengths_of(np.ones((scale * 30, scale * 40), np.uint8))
    triangle, crowd = Instance(1, box, False, 200.0, [polygon]), Instance(0, (0, 0, 4, 4), True, 16.0, everywhere)
    objects = Objects(scale * SIZE[0], scale * SIZE[1], (triangle, crowd), 7)
    image = Image.fromarray(np.repeat(255 * mask_HW[:, :, None], 3, axis=2))
    random.seed(seed)
    return TrainInstances(Preprocessing(GRID, (0, 0, 0), (1, 1, 1), crop_ratio=1.0), "strong").example(image, objects)


def test_masks_and_boxes_lie_on_the_objects_of_training_pictures():
    seen, cut = 0, 0
    for seed in range(60):
        pixels, label = pictures_of_objects(seed)
        x_CHW = pixels.normalized()
        assert label["masks"].shape[1:] == GRID and len(label["boxes"]) == len(label["labels"]) == len(label["masks"])
        if not len(label["masks"]):
            continue
        assert label["labels"].tolist() == [2], "classes count from 1, and the crowd is left out"
        mask_HW, (x1, y1, x2, y2) = label["masks"][0].bool(), label["boxes"][0].tolist()
        rows, columns = mask_HW.any(1).nonzero().flatten(), mask_HW.any(0).nonzero().flatten()
        extents = (columns[0].item(), rows[0].item(), columns[-1].item() + 1, rows[-1].item() + 1)
        assert max(abs(one - other) for one, other in zip((x1, y1, x2, y2), extents, strict=True)) <= 1.5
        is_bright_HW = x_CHW.mean(0) > 0.4 * x_CHW.max()
        both, either = (mask_HW & is_bright_HW).sum(), (mask_HW | is_bright_HW).sum()
        assert both >= 0.7 * either, f"seed {seed}: the mask lies elsewhere"
        seen, cut = seen + 1, cut + (0 in (x1, y1) or x2 == GRID[1] or y2 == GRID[0])
    assert seen >= 40 and cut >= 5


def test_pictures_that_score_keep_their_objects_and_say_where_they_lie():
    objects = Objects(80, 60, (Instance(0, (8.0, 12.0, 48.0, 36.0), False, 960.0, [[8, 12, 48, 12, 48, 36]]),), 3)
    view = ScoredInstances(Preprocessing(GRID, crop_ratio=1.0))
    pixels, placed = view.example(Image.new("RGB", SIZE), objects)  # opened at half of its size
    assert pixels.values.shape == (*GRID, 3) and placed == PlacedObjects(objects, Placement(0.4, 0.4, 0, 0))
    assert view.labels([placed], 2) == [placed]
    empty = TrainInstances(Preprocessing(GRID, crop_ratio=1.0), "light").example(Image.new("RGB", SIZE), -1)[1]
    assert empty["boxes"].shape == (0, 4) and empty["masks"].shape == (0, *GRID)
    assert empty["labels"].dtype == torch.int64 and empty["masks"].dtype == torch.uint8


def test_shapes_are_in_the_digest(tmp_path):
    root = write_coco(tmp_path, with_shapes())
    before = load_boxes(root, needs_masks=True).digest
    path, document = root / "annotations" / "instances_train2017.json", with_shapes()
    document["annotations"][0]["segmentation"][0][0] += 2
    path.write_text(json.dumps(document))
    assert load_boxes(root, needs_masks=True).digest != before
