"""Folders of images with masks: layouts, class lists, and what is refused, one clear line each."""

import json

import numpy as np
import pytest
from PIL import Image

from efficientformer.data.masks.mask import IGNORED, MAX_MASK_CLASSES
from efficientformer.data.masks.mask_folder import load_mask_folder
from efficientformer.errors import DataError
from efficientformer.tasks.kinds import find_kind

BOTH = {"training": 3, "validation": 2}


def pixels(split, index=0):
    return split.labels[index].pixels()


def test_index_masks_of_folders_like_ade20k(write_masks):
    root = write_masks(BOTH)
    dataset = load_mask_folder(root)
    assert dataset.task == "semantic" and find_kind(root).words.name == "semantic"
    assert dataset.classes == ("sky", "road") and (len(dataset.train), len(dataset.val)) == (3, 2)
    mask_HW = pixels(dataset.train)
    assert mask_HW.shape == (8, 12) and mask_HW[0, 0] == IGNORED
    assert (mask_HW[1:, :6] == 0).all() and (mask_HW[:, 6:] == 1).all()
    assert dataset.train.image(0).size == (12, 8) and dataset.train.name(1) == "images/training/1.png"
    assert dataset.to_record()["train"] == {"num_images": 3, "per_class": [3, 3]}
    assert find_kind(root.parent).words.name == "semantic", "an archive's folder is seen through"
    (root / "classes.txt").unlink()
    assert find_kind(root).words.name == "classification"
    with pytest.raises(DataError, match="no list of classes"):
        load_mask_folder(root)


@pytest.mark.parametrize(
    ("masks", "classes", "first"),
    [("annotations", "sky\nroad\n", IGNORED), ("masks", "back\nsky\nroad\n", 0), ("masks", "sky\nroad\n", None)],
)
def test_classes_without_values_are_numbered_from_1_in_annotations_and_from_0_in_masks(
    write_masks, masks, classes, first
):
    root = write_masks({".": 5}, masks, classes)
    if first is None:
        with pytest.raises(
            DataError, match=r"images/0.png: its mask masks/0.png: it has the value 2, which classes.txt"
        ):
            load_mask_folder(root)
        return
    dataset = load_mask_folder(root, val_fraction=0.4, seed=3)
    assert (len(dataset.train), len(dataset.val)) == (3, 2) and "0.4 of the images" in dataset.split_rule
    assert pixels(dataset.val)[0, 0] == first and dataset.classes == tuple(classes.split())


def test_colored_masks(write_masks):
    root = write_masks(BOTH, classes="0 0 0 Void\n64 128 64 sky\n128,0,0\troad\n")
    for path in (root / "annotations").rglob("*.png"):
        table = np.zeros((256, 3), np.uint8)
        table[1:3] = (64, 128, 64), (128, 0, 0)
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    dataset = load_mask_folder(root)
    mask_HW = pixels(dataset.val, 1)
    assert mask_HW[0, 0] == IGNORED and (mask_HW[1:, :6] == 0).all() and (mask_HW[:, 6:] == 1).all()
    Image.new("RGB", (12, 8), (1, 2, 3)).save(root / "annotations" / "training" / "1.png")
    with pytest.raises(DataError, match="the color 1 2 3, which"):
        load_mask_folder(root)


def rgb(path):
    Image.open(path).convert("RGB").save(path)


def beyond(path):
    Image.new("L", (12, 8), 9).save(path)


def larger(path):
    Image.new("L", (24, 16), 1).save(path)


def damaged(path):
    path.write_bytes(path.read_bytes()[:40])


def jpeg(path):
    Image.open(path).convert("L").save(path, format="JPEG")


def twice(path):
    Image.new("L", (12, 8), 1).save(path.with_suffix(".tif"))


def frames(path):
    path.unlink()
    first, second = (Image.new("L", (12, 8), value) for value in (1, 2))
    first.save(path.with_suffix(".tif"), save_all=True, append_images=[second])


FAULTS = [
    (rgb, "it is RGB, but classes.txt lists values instead of colors. Save the values as PNG of one channel"),
    (beyond, "it has the value 9, which classes.txt does not list. List the class, or correct the mask"),
    (larger, "is of 24 x 16 pixels, and the image of 12 x 8. Make them of one size"),
    (lambda path: path.unlink(), "it has no mask. Add one of the same name, as PNG"),
    (damaged, "damaged"),
    (jpeg, "JPEG changes the values of pixels"),
    (lambda path: path.write_bytes(b""), "it is an empty file. Save the mask as PNG"),
    (lambda path: path.write_text("no picture"), "it is damaged, or no picture. Save the mask as PNG"),
    (twice, "it has several masks: annotations/training/2.png, annotations/training/2.tif. Remove all but one"),
    (frames, "it has 2 frames, of which only one can be the mask"),
]
NAMES = ("rgb", "beyond", "larger", "missing", "damaged", "jpeg", "empty", "text", "twice", "frames")


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=NAMES)
def test_a_mask_that_cannot_be_used_is_one_line_and_can_be_left_out(write_masks, fault, reason):
    root = write_masks({"training": 4, "validation": 2})
    for name in ("2.png", "3.png"):
        fault(root / "annotations" / "training" / name)
    with pytest.raises(DataError) as caught:
        load_mask_folder(root)
    message = str(caught.value)
    assert f"{root}/images/training/2.png: it" in message and reason in message and "\n" not in message
    assert message.endswith("--skip-bad. 1 more images have masks that cannot be used.")
    dataset = load_mask_folder(root, skip_bad=True)
    assert len(dataset.train) == 2 and [entry.file[-5:] for entry in dataset.skipped] == ["2.png", "3.png"]
    assert reason in dataset.skipped[0].reason and len(dataset.to_record()["skipped"]) == 2


def test_where_no_mask_can_be_used_the_first_reason_is_said(write_masks):
    root = write_masks({"training": 3, "validation": 2})
    for path in (root / "annotations" / "training").iterdir():
        rgb(path)
    with pytest.raises(
        DataError, match=r"0 of 3 images in .*training can be used .*\(images/training/0.png: .* it is RGB"
    ):
        load_mask_folder(root, skip_bad=True)
    for path in (root / "annotations").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"holds no images with masks.* Its annotations/ has no pictures\."):
        load_mask_folder(root)


def test_a_damaged_image_is_left_out_as_in_folders_of_classes(write_masks):
    root = write_masks(BOTH)
    (root / "images" / "training" / "1.png").write_bytes(b"no image")
    dataset = load_mask_folder(root)
    assert len(dataset.train) == 2 and [entry.file for entry in dataset.skipped] == ["images/training/1.png"]


def test_masks_that_are_ignored_as_a_whole_are_counted_and_kept(write_masks):
    root = write_masks(BOTH)
    Image.new("L", (12, 8), 255).save(root / "annotations" / "training" / "0.png")
    dataset = load_mask_folder(root)
    assert len(dataset.train) == 3 and dataset.train.num_images_per_class() == [2, 2]
    assert dataset.warnings[0].startswith("1 training images whose masks are ignored as a whole (images/training/0.png")
    for path in (root / "annotations" / "validation").iterdir():
        Image.new("L", (12, 8)).save(path)
    with pytest.raises(DataError, match="All pixels of the validation images are ignored"):
        load_mask_folder(root)


def test_what_was_checked_is_not_read_again_and_a_change_is_seen(write_masks, tmp_path, later):
    root, record = write_masks(BOTH), tmp_path / "checked.json"
    seen = []
    first = load_mask_folder(root, record=record, progress=lambda done, total: seen.append(total))
    again = load_mask_folder(root, record=record, progress=lambda done, total: seen.append(total))
    assert set(seen) == {10} and again.digest == first.digest
    assert len(json.loads(record.read_text())["images"]) == 10
    larger(root / "annotations" / "training" / "1.png")
    with pytest.raises(DataError, match="has changed since this command began"):
        pixels(again.train, 1)
    with pytest.raises(DataError, match="24 x 16"):
        load_mask_folder(root, record=record)


def test_another_meaning_of_the_masks_is_another_set(write_masks):
    root = write_masks(BOTH)
    before = load_mask_folder(root).digest
    (root / "classes.txt").write_text("0 void\n2 sky\n1 road\n")
    assert load_mask_folder(root).digest != before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 sky\n1 sky\n", "lists 'sky' twice"),
        ("0 sky\n0 road\n", r"line 2: the value of 'sky' is listed again"),
        ("0 sky\n1 2 3 road\nroad\n", "line 3: 'road' is not like the first line. A line is 'VALUE NAME'"),
        ("1 2 300 sky\n", "line 1: a color has values from 0 to 255"),
        ("0 sky\n1 void\n", "fewer than two classes"),
        ("".join(f"{value} class{value}\n" for value in range(MAX_MASK_CLASSES + 1)), "256 classes; 255 are the most"),
    ],
)
def test_a_list_of_classes_that_cannot_be_used(write_masks, text, reason):
    with pytest.raises(DataError, match=reason):
        load_mask_folder(write_masks(BOTH, classes=text))


def test_the_table_of_ade20k(write_masks):
    root = write_masks(BOTH)
    (root / "classes.txt").unlink()
    table = "Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n2 \t0.1072\t6046\t612\tbuilding, edifice\n"
    (root / "objectInfo150.txt").write_text(table)
    dataset = load_mask_folder(root)
    assert dataset.classes == ("wall", "building, edifice") and pixels(dataset.train)[0, 0] == IGNORED
