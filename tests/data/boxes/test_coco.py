"""COCO JSON in: what fits is read exactly, and what does not is one line that names file, image and field."""

import json

import pytest
from PIL import ExifTags, Image

from efficientformer.data.boxes.coco import read_coco
from efficientformer.data.boxes.load import load_boxes
from efficientformer.data.boxes.problems import Problems
from efficientformer.data.boxes.run_lengths import run_lengths
from efficientformer.data.boxes.segmentation import inside
from efficientformer.data.images import read_image, read_size
from efficientformer.errors import DataError

from .made_boxes import BOXES, SIZE, content, write_coco


def test_images_and_boxes_are_those_of_the_file(tmp_path):
    dataset = load_boxes(write_coco(tmp_path, has_val=True))
    assert dataset.task == "detection" and dataset.classes == ("cat", "dog") and dataset.category_ids == (3, 7)
    assert (len(dataset.train), len(dataset.val)) == (4, 3) and not dataset.is_held_out
    first, last = dataset.train.labels[0], dataset.train.labels[3]
    assert [instance.box for instance in first.instances] == [(4, 6, 24, 18), (22, 2, 32, 26)]
    assert [instance.number for instance in first.instances] == [0, 1] and first.image_id == 10
    assert first.classes == (0, 1) and last.instances == () and last.classes == ()
    assert dataset.train.num_images_per_class() == [3, 3] and dataset.train.image(0).size == SIZE
    assert "1 images of annotations/instances_train2017.json have no boxes" in "".join(dataset.notes)


def test_a_file_alone_has_a_part_held_out(tmp_path):
    path = write_coco(tmp_path) / "annotations" / "instances_train2017.json"
    dataset = load_boxes(path, val_fraction=0.3)
    assert dataset.is_held_out and len(dataset.train) + len(dataset.val) == 4
    assert any(label.instances for label in dataset.val.labels)


def test_boxes_and_pixels_and_crowds_are_in_the_digest(tmp_path):
    root = write_coco(tmp_path)
    before = load_boxes(root).digest
    path, document = root / "annotations" / "instances_train2017.json", content()
    document["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(document))
    crowd = load_boxes(root).digest
    document["annotations"][0] |= {"iscrowd": 0, "bbox": [4, 6, 20, 13]}
    path.write_text(json.dumps(document))
    assert len({before, crowd, load_boxes(root).digest}) == 3


def polygon(*numbers):
    return lambda document: document["annotations"][2].update(segmentation=[list(numbers)])


def runs(size, counts):
    return lambda document: document["annotations"][2].update(segmentation={"size": size, "counts": counts})


def annotation(**fields):
    return lambda document: document["annotations"][2].update(fields)


def image(**fields):
    return lambda document: document["images"][1].update(fields)


ANNOTATION = 'annotation with id 102 of image "a1.png": '
PROBLEMS = {
    "missing image": (image(file_name="b.png"), 'image "b.png": file_name: there is no such file in .*; add it'),
    "wrong size": (image(width=41), "width and height are 41 and 30, but the file has 40 x 30 pixels; correct"),
    "no width": (lambda document: document["images"][1].pop("width"), 'image "a1.png": width is missing'),
    "image twice": (
        lambda document: document["images"].append(document["images"][0] | {"file_name": "b.png"}),
        'image "b.png": id 10 is also that of "a0.png"; give',
    ),
    "file twice": (image(file_name="a0.png"), 'image "a0.png": file_name is also that of the image with id 10'),
    "leads out": (image(file_name="../../a.png"), "file_name leads out of"),
    "outside": (
        annotation(bbox=[30, 6, 20, 12]),
        ANNOTATION + "bbox reaches from x 30 to 50, but the image is 40 wide",
    ),
    "above": (annotation(bbox=[3, -6, 20, 12]), ANNOTATION + "bbox reaches from y -6 to 6, but the image is 30 high"),
    "zero area": (
        annotation(bbox=[3, 6, 20, 0]),
        ANNOTATION + "bbox is 20 wide and 0 high, so it holds nothing; correct",
    ),
    "three numbers": (annotation(bbox=[3, 6, 20]), ANNOTATION + "bbox has too few items"),
    "no number": (annotation(bbox=[3, 6, 20, None]), ANNOTATION + "bbox.3 must be a number"),
    "category": (annotation(category_id=4), ANNOTATION + "category_id 4 is that of no category; the file has 3, 7"),
    "no such image": (annotation(image_id=99), "id 102: image_id 99 is that of no image; add"),
    "annotation twice": (annotation(id=100), 'id 100 of image "a1.png": id 100 is also that of another annotation'),
    "two points": (polygon(1, 2, 3, 4), ANNOTATION + "segmentation.0 has 2 points, and a polygon needs 3 or more"),
    "half a point": (polygon(1, 2, 3, 4, 5, 6, 7), ANNOTATION + "segmentation.0 has 3.5 points"),
    "run lengths of a size": (
        runs([40, 30], [1200]),
        ANNOTATION + r"segmentation.size is \[40, 30\], not .*\[30, 40\]",
    ),
    "too few runs": (runs([30, 40], [600, 10]), ANNOTATION + "segmentation.counts are of 610 pixels, .* 1,200"),
    "crowd": (annotation(iscrowd=2), ANNOTATION + "iscrowd must be 0 or 1"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_a_line_and_can_be_left_out(tmp_path, name):
    damage, expected = PROBLEMS[name]
    document = content()
    damage(document)
    root = write_coco(tmp_path, document)
    with pytest.raises(DataError, match=expected) as error:
        load_boxes(root)
    line, remedy = str(error.value).split("\n")
    assert "instances_train2017.json, " in line and remedy == "This item can be left out with --skip-bad."
    dataset = load_boxes(root, skip_bad=True)
    (left_out,) = dataset.skipped
    assert f"{left_out.file}: {left_out.reason}." == line
    loaded = [label for split in (dataset.train, dataset.val) for label in split.labels]
    num_images, num_boxes = (4, 6) if name == "image twice" else (3, 4) if ", annotation" not in line else (4, 5)
    assert (len(loaded), sum(len(label.instances) for label in loaded)) == (num_images, num_boxes)


def test_a_picture_that_is_turned_is_compared_as_it_is_seen(tmp_path):
    root = write_coco(tmp_path)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", SIZE).save(root / "train2017" / "a1.png", exif=exif)
    with pytest.raises(DataError, match=r"width and height are 40 and 30, but the file has 30 x 40 pixels .its EXIF"):
        load_boxes(root)
    assert read_size(root / "train2017" / "a1.png") == read_image(root / "train2017" / "a1.png").size == (30, 40)


def test_every_problem_is_named_up_to_ten(tmp_path):
    document = content()
    for entry in document["annotations"]:
        entry["bbox"] = [0, 0, 0, 0]
    document["annotations"][5]["bbox"] = [0, 0, 5, 5]
    document["annotations"] += [{"id": 200 + index} for index in range(7)]
    with pytest.raises(DataError) as error:
        load_boxes(write_coco(tmp_path, document))
    lines = str(error.value).splitlines()
    assert len(lines) == 12 and lines[10] == "And 2 more." and lines[11].startswith("These 12 items can be left out")


@pytest.mark.parametrize(
    "damage, expected",
    [
        ({"annotations": []}, "has no annotations, so there is nothing to learn"),
        ({"categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]}, "2 categories have the id 3"),
        ({"categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "cat"}]}, '2 categories have the name "cat"'),
        ({"categories": [{"id": "3", "name": "cat"}]}, "categories.0.id must be a whole number, not '3'"),
        ({"images": {}}, "images must be a list.* COCO JSON is an object with images, annotations and categories"),
    ],
)
def test_what_cannot_be_left_out_is_refused(tmp_path, damage, expected):
    root = write_coco(tmp_path, content() | damage)
    with pytest.raises(DataError, match=expected):
        load_boxes(root, skip_bad=True)


def test_validation_needs_the_same_categories_by_name(tmp_path):
    root = write_coco(tmp_path, has_val=True)
    path, document = root / "annotations" / "instances_val2017.json", content(3, start=4)
    document["categories"] = [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}]
    path.write_text(json.dumps(document))
    assert [instance.number for instance in load_boxes(root).val.labels[0].instances] == [1, 0]
    document["categories"][0]["name"] = "cow"
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r'lacks the category "cat"|has the category "cow"'):
        load_boxes(root)


def test_a_damaged_image_is_left_out_and_named(tmp_path):
    root = write_coco(tmp_path)
    (root / "train2017" / "a1.png").write_bytes(b"not a picture")
    dataset = load_boxes(root)
    assert [skipped.file for skipped in dataset.skipped] == ["train2017/a1.png"]
    assert len(dataset.train) + len(dataset.val) == 3


def test_a_box_that_rounding_put_outside_is_cut_and_counted(tmp_path):
    document = content()
    document["annotations"][0]["bbox"] = [-0.4, 6, 20, 24.5]
    dataset = load_boxes(write_coco(tmp_path, document, has_val=True))
    assert dataset.train.labels[0].instances[0].box == (0, 6, pytest.approx(19.6), 30)
    assert "1 boxes of annotations/instances_train2017.json reached up to a pixel beyond" in "".join(dataset.notes)
    assert inside((1, 1, 4, 4), SIZE, "bbox") == ((1, 1, 4, 4), False)


def test_segmentations_stay_reachable(tmp_path):
    document = content()
    document["annotations"][0]["segmentation"] = polygons = [[4, 6, 24, 6, 24, 18]]
    document["annotations"][1] |= {"segmentation": {"size": [30, 40], "counts": [600, 600]}, "iscrowd": 1}
    path = write_coco(tmp_path, document) / "annotations" / "instances_train2017.json"
    first, second = read_coco(path, Problems(skip_bad=False)).images["a0.png"].instances
    assert first.segmentation == polygons and not first.is_crowd and first.area == BOXES[0][2] * BOXES[0][3]
    assert second.segmentation["counts"] == [600, 600] and second.is_crowd


def test_compressed_run_lengths_are_those_of_pycocotools():
    mask = pytest.importorskip("pycocotools.mask")
    import numpy as np

    pixels = np.zeros((30, 40), dtype=np.uint8, order="F")
    pixels[3:20, 5:30], pixels[10, 10], pixels[0:2, 35:] = 1, 0, 1
    counts = mask.encode(pixels)["counts"].decode()
    values = np.repeat(np.arange(len(run_lengths(counts))) % 2, run_lengths(counts))
    assert (pixels == values.reshape(40, 30).T).all()
    for damaged in (counts + "o", "é", [1, -1], 3):
        with pytest.raises(ValueError, match="counts"):
            run_lengths(damaged)
