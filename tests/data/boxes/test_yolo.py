"""YOLO folders in: the same boxes as of COCO JSON, and lines for what is wrong."""

import pytest

from efficientformer.data.boxes.load import load_boxes
from efficientformer.errors import DataError

from .made_boxes import write_coco, write_images, write_yolo, yolo_lines


def boxes(dataset):
    splits = {"train": dataset.train, "val": dataset.val}
    return {
        split.name(index).rpartition("/")[2]: [
            (instance.number, [pytest.approx(value) for value in instance.box])
            for instance in split.labels[index].instances
        ]
        for split in splits.values()
        for index in range(len(split))
    }


@pytest.mark.parametrize("has_yaml", [True, False])
def test_the_same_set_as_coco_json(tmp_path, has_yaml):
    yolo = load_boxes(write_yolo(tmp_path / "yolo", has_yaml=has_yaml))
    coco = load_boxes(write_coco(tmp_path / "coco"))
    assert boxes(yolo) == boxes(coco) and yolo.classes == coco.classes and yolo.task == "detection"
    assert yolo.is_held_out and ("data.yaml" if has_yaml else "classes.txt") in yolo.layout
    assert "1 images of images/train/ have no boxes" in "".join(yolo.notes)


def test_validation_images_are_those_of_the_file(tmp_path):
    root = write_yolo(tmp_path)
    write_images(root / "valid" / "images", 2, start=4)
    (root / "valid" / "labels").mkdir()
    (root / "valid" / "labels" / "a4.txt").write_text(yolo_lines())
    (root / "data.yaml").write_text("train: [images/train]\nval: ../valid/images\nnames: [cat, dog]\n")
    dataset = load_boxes(root)
    assert (len(dataset.train), len(dataset.val)) == (4, 2) and not dataset.is_held_out
    assert [len(label.instances) for label in dataset.val.labels] == [2, 0]


def test_a_polygon_is_a_box_and_a_segmentation(tmp_path):
    root = write_yolo(tmp_path)
    (root / "labels" / "train" / "a0.txt").write_text("1 0.1 0.2 0.5 0.2 0.5 0.6\n")
    dataset = load_boxes(root, val_fraction=0.3)
    labels = [label for split in (dataset.train, dataset.val) for label in split.labels if len(label.instances) == 1]
    ((instance,),) = [label.instances for label in labels]
    assert instance.box == pytest.approx((4, 6, 20, 18)) and instance.number == 1
    assert instance.segmentation == [[pytest.approx(value) for value in (4, 6, 20, 6, 20, 18)]]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("2 0.5 0.5 0.1 0.1", "class 2 is unknown: the 2 classes have the numbers from 0 on"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is unknown"),
        ("0 20 15 10 10", "20 is no share of the image's side, from 0 to 1; divide pixels"),
        ("0 0.9 0.5 0.4 0.1", "the box reaches from x 28 to 44, but the image is 40 wide"),
        ("0 0.5 0.5 0 0.1", "the box is 0 wide and 3 high, so it holds nothing"),
        ("0 0.5 0.5 0.1", "it has 3 numbers behind the class, not the 4 of a box"),
        ("cat 0.5 0.5 0.1 0.1", "it must be numbers: class, center x"),
        ("0 0.5 nan 0.1 0.1", "it must be numbers"),
        (yolo_lines().splitlines()[0], "it repeats line 1; remove one of them"),
    ],
)
def test_a_bad_line_is_named_and_can_be_left_out(tmp_path, line, expected):
    root = write_yolo(tmp_path)
    with (root / "labels" / "train" / "a1.txt").open("a") as labels:
        labels.write(f"\n{line}\n")
    with pytest.raises(DataError, match=rf"labels/train/a1.txt, line 4: {expected}"):
        load_boxes(root)
    dataset = load_boxes(root, skip_bad=True)
    assert len(dataset.skipped) == 1 and boxes(dataset)["a1.png"] == boxes(dataset)["a0.png"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("train: images/train\n", "must have names, train and perhaps val"),
        ("train: images/train\nnames: []\n", "there are no names of classes"),
        ("train: images/train\nnames: {0: cat, 2: dog}\n", "numbered 0, 1, 2, ... without gaps"),
        ("train: images/train\nnames: [cat, cat]\n", "the name 'cat' is given twice"),
        ("train: images/train\nnames: [cat, dog]\nnc: 3\n", "nc is 3, but there are 2 names"),
        ("train: images/other\nnames: [cat, dog]\n", "there is no folder images/other in"),
        ("train: ../..\nnames: [cat, dog]\n", "there is no folder"),
        ("train: [\n", "not readable YAML"),
    ],
)
def test_a_bad_data_yaml_is_refused(tmp_path, text, expected):
    root = write_yolo(tmp_path)
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=expected):
        load_boxes(root)


def test_a_set_without_boxes_and_a_folder_without_annotations_are_refused(tmp_path):
    root = write_yolo(tmp_path / "yolo")
    for path in (root / "labels" / "train").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="No usable image of images/train/ has a box"):
        load_boxes(root)
    write_images(tmp_path / "images")
    with pytest.raises(DataError, match=r"has no boxes that can be read. Give a folder with COCO JSON .* or YOLO"):
        load_boxes(tmp_path / "images")
    with pytest.raises(DataError, match="does not exist"):
        load_boxes(tmp_path / "nothing")
