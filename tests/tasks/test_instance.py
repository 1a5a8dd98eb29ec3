"""Masks of objects: pasted, scored as pycocotools does, predicted and drawn; the loss and what the task refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from efficientformer.arch.dense import MaskRcnn
from efficientformer.data.boxes.instances import PlacedObjects
from efficientformer.data.boxes.joint import IGNORED
from efficientformer.data.boxes.objects import Instance, Objects
from efficientformer.data.boxes.placement import Placement, fitted
from efficientformer.data.boxes.shapes import mask_of, run_lengths_of
from efficientformer.data.loading.loader import Batch
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import DataError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.heads.mask_rcnn import NUMBERS
from efficientformer.models.network import Network
from efficientformer.tasks.detection.drawing import color_of
from efficientformer.tasks.detection.matching import LEAST_SCORE, box_matches
from efficientformer.tasks.detection.prediction import coco_document
from efficientformer.tasks.examples.instances import draw_found_masks
from efficientformer.tasks.instance.drawing import draw_instances, draw_masks
from efficientformer.tasks.instance.kind import INSTANCES
from efficientformer.tasks.instance.matching import mask_matches
from efficientformer.tasks.instance.pasting import pasted
from efficientformer.tasks.instance.prediction import InstancePredictor
from efficientformer.tasks.instance.scores import InstanceCount
from efficientformer.tasks.kinds import KINDS, searched

from ..models.small import SMALL_V2

pytest.importorskip("faster_coco_eval")
GRID = 48, 64
FULL, LEFT = np.ones((28, 28)), np.repeat([[1.0] * 14 + [0.0] * 14], 28, axis=0)


def test_a_full_mask_is_its_box():
    expected = np.zeros((30, 40), np.uint8)
    expected[6:18, 4:24] = 1
    assert np.array_equal(pasted(FULL, (4, 6, 24, 18), (40, 30)), expected)
    expected[:, 14:] = 0
    assert np.array_equal(pasted(LEFT, (4, 6, 24, 18), (40, 30)), expected)
    assert np.array_equal(pasted(FULL * 0.4, (4, 6, 24, 18), (40, 30)), expected * 0)


def test_a_mask_reaches_beyond_the_picture_as_its_box_does():
    """The border cuts the box, and leaves the cells of the mask where they are."""
    whole = pasted(LEFT, (20, 10, 80, 40), (100, 50))
    assert np.array_equal(pasted(LEFT, (-20, -10, 40, 20), (60, 20)), whole[20:40, 40:100])
    assert not pasted(FULL, (70, 0, 90, 9), (60, 20)).any() and not pasted(FULL, (5, 5, 5, 5), (60, 20)).any()


def test_cells_are_interpolated_as_torch_does():
    mask_SS = np.random.default_rng(0).random((28, 28))
    larger = nn.functional.interpolate(torch.from_numpy(mask_SS)[None, None], size=(84, 140), mode="bilinear")[0, 0]
    inner = slice(3, -3), slice(3, -3)  # beyond the outermost centers torch repeats them
    assert np.array_equal(pasted(mask_SS, (0, 0, 140, 84), (140, 84))[inner], (larger > 0.5).numpy()[inner])


def some_objects(seed, num_images=6, num_classes=3):
    """Images of polygons, run lengths and a crowd, and rows that find most of them more or less."""
    rng = np.random.default_rng(seed)
    rows_BNX, labels = np.zeros((num_images, 100, NUMBERS)), []
    rows_BNX[:, :, 5] = -1
    for image in range(num_images):
        size, instances = (int(rng.integers(60, 200)), int(rng.integers(60, 200))), []
        placement = fitted(size, GRID)
        for index in range(int(rng.integers(1, 6))):
            corners = rng.uniform(0, 1, (3, 2)) * size
            polygon = [corners.ravel().tolist()]
            mask_HW = mask_of(polygon, size)
            if mask_HW.sum() < 30:
                continue
            (x1, y1), (x2, y2) = corners.min(0), corners.max(0)
            is_crowd = index == 3
            segmentation = run_lengths_of(mask_HW) if index % 2 or is_crowd else polygon
            number = int(rng.integers(num_classes))
            instances.append(Instance(number, (x1, y1, x2, y2), is_crowd, float(mask_HW.sum()), segmentation))
            box = np.array([x1, y1, x2, y2]) + rng.normal(0, 2, 4)
            rows_BNX[image, index, :4] = placement.to_input(box[None])[0]
            rows_BNX[image, index, 4:6] = rng.uniform(0.05, 1), number if rng.random() < 0.8 else 0
            crop = Image.fromarray(255 * mask_HW).crop(tuple(np.round([x1, y1, x2, y2]).astype(int).tolist()))
            noise = rng.normal(0, 0.1, (28, 28))
            rows_BNX[image, index, 6:] = (np.asarray(crop.resize((28, 28))) / 255 + noise).clip(0, 1).ravel()
        labels.append(PlacedObjects(Objects(*size, tuple(instances), image), placement))
    return torch.from_numpy(rows_BNX).float(), labels


@pytest.mark.parametrize("seed", range(3))
def test_precisions_are_those_of_pycocotools(seed):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval
    count = InstanceCount(3)
    count.add(*some_objects(seed))
    scores, truth = count.scores(), coco.COCO()
    truth.dataset = json.loads(json.dumps(count.truth))
    truth.createIndex()
    of_kind = {"segm": (count.masks, scores.masks), "bbox": (count.boxes, scores.boxes)}
    for kind, (results, ours) in of_kind.items():
        theirs = evaluation(truth, truth.loadRes(json.loads(json.dumps(results))), kind)
        theirs.evaluate(), theirs.accumulate(), theirs.summarize()
        expected = [None if value == -1 else 100 * value for value in theirs.stats[:6]]
        own = [ours.box_ap, ours.ap50, ours.ap75, ours.ap_small, ours.ap_medium, ours.ap_large]
        assert own == pytest.approx(expected, abs=1e-6)
        precision = theirs.eval["precision"][:, :, :, 0, -1]
        by_class = [precision[:, :, index] for index in range(3)]
        expected = [100 * of[of > -1].mean() if (of > -1).any() else None for of in by_class]
        assert ours.of_classes == pytest.approx(expected, abs=1e-6)
    assert 10 < scores.mask_ap < 95 and scores.mask_ap != scores.boxes.box_ap


class Fixed(nn.Module):
    """Finds the same rows in every picture, which it looks at so that the file has an input."""

    def __init__(self, rows):
        super().__init__()
        self.register_buffer("rows", rows)
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.rows + 0 * x.mean()


def rows_of(*objects):
    """(box, score, class, mask) as the rows of a head."""
    rows_NX = torch.zeros(100, NUMBERS)
    rows_NX[:, 5] = -1
    for row_X, (box, score, number, mask_SS) in zip(rows_NX, objects, strict=False):
        row_X[:] = torch.tensor([*box, score, number, *np.ravel(mask_SS)])
    return rows_NX[None]


def rectangle(box, number=0):
    x1, y1, x2, y2 = box
    return Instance(number, box, False, (x2 - x1) * (y2 - y1), [[x1, y1, x2, y1, x2, y2, x1, y2]])


def test_planted_objects_have_the_precision_that_they_should():
    """A picture of 128 x 64 in an input of 64 x 48: found in full, with the box alone, and not at all."""
    label = PlacedObjects(Objects(128, 64, (rectangle((16, 4, 80, 60)),), 1), fitted((128, 64), GRID))
    assert label.placement == Placement(0.5, 0.5, 0, 8)
    found = {}
    for name, rows in {
        "both": rows_of(((8, 10, 40, 38), 0.9, 0, FULL)),
        "box": rows_of(((8, 10, 40, 38), 0.9, 0, LEFT)),
        "none": rows_of(),
    }.items():
        scores = INSTANCES.evaluate(Fixed(rows), [Batch(torch.zeros(1, 3, *GRID), [label])], 2)
        found[name] = scores.masks.box_ap, scores.boxes.box_ap
        assert scores.primary == scores.mask_ap and scores.num_objects == (1, 0) == scores.num_images_per_class
    assert found == {"both": (100, 100), "box": (pytest.approx(10), 100), "none": (0, 0)}  # at 50 % alone
    record = scores.to_record(["cat", "dog"])
    assert {"mask_ap", "mask_ap50", "mask_ap75", "box_ap", "ap50", "ap75"} <= record.keys()
    assert record["per_class"][1] == {"name": "dog", "ap": None, "box_ap": None, "num_images": 0, "num_boxes": 0}
    empty = PlacedObjects(Objects(128, 64, (), 1), label.placement)
    with pytest.raises(DataError, match="None of the images that score has an object"):
        _ = INSTANCES.evaluate(Fixed(rows), [Batch(torch.zeros(1, 3, *GRID), [empty])], 2).primary


def test_crowds_are_no_mistakes_and_masks_are_cut_where_the_picture_ends():
    """The first object's box begins above the picture, in the ground of the input; the second lies in a crowd."""
    crowd = replace(rectangle((80, 0, 128, 64)), is_crowd=True)
    label = PlacedObjects(Objects(128, 64, (rectangle((16, 0, 80, 22)), crowd), 1), fitted((128, 64), GRID))
    rows = rows_of(((8, 0, 40, 38), 0.8, 0, LEFT.T), ((42, 10, 60, 38), 0.9, 0, FULL))
    scores = INSTANCES.evaluate(Fixed(rows), [Batch(torch.zeros(1, 3, *GRID), [label])], 1)
    assert scores.masks.box_ap == pytest.approx(100) and scores.num_objects == (1,)


def an_image():
    """Two objects and a crowd in a picture of 128 x 64, and rows: half of the first, the second as another class, one
    in the crowd, and one below the least score."""
    second, crowd = rectangle((90, 0, 120, 20), 1), replace(rectangle((100, 40, 128, 64)), is_crowd=True)
    objects = Objects(128, 64, (rectangle((16, 4, 80, 60)), second, crowd), 1)
    rows = rows_of(
        ((8, 10, 40, 38), 0.9, 0, LEFT),
        ((45, 8, 60, 18), 0.8, 0, FULL),
        ((52, 30, 60, 38), 0.7, 0, FULL),
        ((45, 20, 60, 28), LEAST_SCORE - 0.01, 1, FULL),
    )
    return rows, PlacedObjects(objects, fitted((128, 64), GRID))


def test_the_quality_of_an_image_is_that_of_its_masks():
    rows, label = an_image()
    nothing = PlacedObjects(Objects(128, 64, (), 2), label.placement)
    batches = [Batch(torch.zeros(1, 3, *GRID), [of_image]) for of_image in (label, nothing)]
    scores = INSTANCES.evaluate(Fixed(rows), batches, 2)
    assert scores.of_images == (pytest.approx(100 * 0.5 / (1 + (1 + 1) / 2)), 0), "its box is found in full"
    assert INSTANCES.evaluate(Fixed(rows_of()), batches, 2).of_images == (0, None)


@pytest.mark.parametrize("seed", range(3))
def test_masks_that_fill_their_boxes_match_as_these(seed):
    rng = np.random.default_rng(seed)

    def some_boxes(number):
        corners = np.sort(rng.integers(0, [40, 30], (number, 2, 2)), axis=1)
        return np.concatenate([corners[:, 0], corners[:, 1] + 1], axis=1)

    objects_M4, numbers_M, is_crowd_M = some_boxes(12), rng.integers(0, 2, 12), np.arange(12) < 2
    objects_M4[0] = 0, 0, 40, 30
    found_N4 = np.concatenate([objects_M4 + rng.integers(0, 2, (12, 4)), some_boxes(12)])
    scores_N, classes_N = np.sort(rng.random(24))[::-1], rng.integers(0, 2, 24)
    rows_M6 = np.column_stack([np.where(is_crowd_M, IGNORED - numbers_M, numbers_M), objects_M4, np.zeros(12)])
    instances = [
        replace(rectangle(tuple(map(float, box)), int(number)), is_crowd=bool(is_crowd))
        for box, number, is_crowd in zip(objects_M4, numbers_M, is_crowd_M, strict=True)
    ]
    masks = [run_lengths_of(pasted(FULL, tuple(map(float, box)), (41, 31))) for box in found_N4]
    by_masks = mask_matches(masks, scores_N, classes_N, Objects(41, 31, tuple(instances), 1))
    by_boxes = box_matches(found_N4, scores_N, classes_N, rows_M6)
    assert by_masks == replace(by_boxes, overlaps=pytest.approx(by_boxes.overlaps))
    assert by_masks.overlaps and by_masks.missed
    assert 0 < by_masks.num_wrong < len(by_masks.shown) - len(by_masks.overlaps), "some lie in the crowd"


def test_found_masks_are_drawn_with_the_outlines_of_labels():
    """The photo is opened at twice its size; the drawing is 3.75 times as large."""
    rows, label = an_image()
    batch, photo = Batch(torch.zeros(1, 3, *GRID), [label]), Image.new("RGB", (256, 128), (120, 120, 120))
    with torch.inference_mode():
        (drawing,) = draw_found_masks(Fixed(rows), photo, batch, ["cat", "dog"]).drawings
    pixels, white = np.asarray(drawing), (np.asarray(drawing) == 255).all(axis=2)
    assert drawing.size == (480, 240)
    assert drawing.getpixel((120, 120)) == pytest.approx([(120 + value) / 2 for value in color_of(0)], abs=1)
    assert drawing.getpixel((240, 120)) == (120, 120, 120), "the right half is not found"
    assert drawing.getpixel((345, 140)) == (120, 120, 120), "the last has too low a score"
    assert white[100:200, 298:300].all() and white[73:75, 345:445].all(), "both labels have outlines"
    assert not white[230:].any() and not white[80:, 470:].any(), "the crowd has none"
    assert (pixels[:75, 337:460] == color_of(1)).all(axis=2).any(), "the name of the missed one is in its color"


@pytest.fixture
def predictor(tmp_path):
    rows = rows_of(((8, 10, 40, 38), 0.9, 1, LEFT), ((0, 8, 64, 40), 0.5, 0, FULL), ((1, 9, 9, 20), 0.1, 0, FULL))
    preprocessing = json.dumps(Preprocessing(GRID, crop_ratio=1.0).to_json())
    about = {"classes": json.dumps(["cat", "dog"]), "preprocessing": preprocessing, "task": "instance"}
    export_onnx(Fixed(rows), (1, 3, *GRID), tmp_path / "model.onnx", about, output_name="objects")
    return InstancePredictor(tmp_path / "model.onnx")


def test_masks_are_those_of_the_photo(predictor):
    photo = Image.new("RGB", (128, 64), (200, 200, 200))
    found = predictor.predict(photo, "a.jpg")
    dog, cat = found.objects
    assert (dog.name, dog.box, cat.name, cat.box) == ("dog", (16, 4, 80, 60), "cat", (0, 0, 128, 64))
    expected = np.zeros((64, 128), np.uint8)
    expected[4:60, 16:48] = 1
    assert np.array_equal(mask_of(dog.mask, (128, 64)), expected)
    assert mask_of(cat.mask, (128, 64)).mean() > 0.999, "all but its corners"
    assert found.to_json()["objects"][0]["mask"] == dog.mask == run_lengths_of(expected)
    document = coco_document([found], predictor.classes)
    assert document["annotations"][0]["segmentation"] == dog.mask and document["annotations"][0]["area"] == 56 * 32
    drawn = draw_masks(photo, found)
    for place, number in (((20, 30), 1), ((100, 30), 0)):
        mixed = [(200 + value) / 2 for value in color_of(number)]
        assert drawn.getpixel(place) == pytest.approx(mixed, abs=1), "the best object lies on top"
    assert draw_instances(photo, found).size == (960, 480)


def test_a_step_trains_all_but_the_statistics_of_the_stages():
    torch.manual_seed(0)
    network = Network(replace(SMALL_V2, head=MaskRcnn(16, 8, 24, 12)), num_classes=2, resolution=GRID).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    masks = torch.zeros(1, *GRID, dtype=torch.uint8)
    masks[:, 6:38, 4:40] = 1
    label = {"boxes": torch.tensor([[4.0, 6, 40, 38]]), "labels": torch.tensor([2]), "masks": masks}
    task = INSTANCES.task(INSTANCES.mixing(None, 0.0, is_weighted=False))
    loss = task.loss(network, Batch(torch.randn(2, 3, *GRID), [label, label]), 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(sum(task.logged().values()), rel=1e-5) and len(task.logged()) == 5
    assert network.stem.conv1.weight.grad.abs().sum() > 0
    assert before and all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_a_batch_is_moved_with_all_its_labels():
    label = {"boxes": torch.zeros(1, 4), "labels": torch.ones(1)}
    moved = Batch(torch.zeros(1, 3, 8, 8), [label]).to(torch.device("meta"))
    assert moved.images.is_meta and {name: tensor.is_meta for name, tensor in moved.labels[0].items()} == {
        "boxes": True,
        "labels": True,
    }
    assert Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1)).to(torch.device("meta")).labels.is_meta


def test_a_search_is_refused_in_a_line():
    with pytest.raises(UsageError, match=r"trained and evaluated only: train --task instance .* --task detection") as e:
        searched("instance")
    assert "\n" not in str(e.value) and searched("detection") is KINDS["detection"]
    with pytest.raises(UsageError, match="masks are not blended"):
        INSTANCES.mixing(None, 0.0, is_weighted=False, mixup=0.2)
