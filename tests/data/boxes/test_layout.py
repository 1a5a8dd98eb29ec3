"""Which files of a folder are annotations, and where their images are."""

import json
import re

import pytest

from efficientformer.data.boxes.layout import holds_boxes
from efficientformer.data.boxes.load import load_boxes
from efficientformer.errors import DataError

from .made_boxes import content, write_coco, write_images, write_yolo


def test_annotations_next_to_the_images_of_their_split(tmp_path):
    for folder, start in (("train", 0), ("valid", 4), ("test", 8)):
        write_images(tmp_path / folder, start=start)
        (tmp_path / folder / "_annotations.coco.json").write_text(json.dumps(content(start=start)))
    dataset = load_boxes(tmp_path)
    assert [split.name(0) for split in (dataset.train, dataset.val)] == ["train/a0.png", "valid/a4.png"]
    assert dataset.notes[0] == "test/_annotations.coco.json: not used"


def test_of_the_official_files_those_of_instances_count(tmp_path):
    root = write_coco(tmp_path, has_val=True)
    captions = content() | {"annotations": [{"id": 1, "image_id": 10, "caption": "a cat"}], "categories": []}
    for name in ("captions_train2017.json", "person_keypoints_train2017.json"):
        (root / "annotations" / name).write_text(json.dumps(captions))
    (root / "annotations" / "notes.json").write_text("{}")
    dataset = load_boxes(root)
    assert "annotations/instances_train2017.json with images in train2017/" in dataset.layout
    assert "captions_train2017.json, annotations/person_keypoints_train2017.json: not used" in dataset.notes[0]


def test_names_of_files_may_have_folders(tmp_path):
    document = content()
    for image in document["images"]:
        image["file_name"] = f"train/{image['file_name']}"
    write_images(tmp_path / "images" / "train")
    (tmp_path / "instances.json").write_text(json.dumps(document))
    dataset = load_boxes(tmp_path)
    assert dataset.is_held_out and "with images in images/" in dataset.layout


@pytest.mark.parametrize(
    "names, expected",
    [
        (("train_a.json", "train_b.json"), "train_a.json, train_b.json .* look like train annotations each"),
        (("one.json", "two.json"), "None of one.json, two.json in .* is named after training images"),
    ],
)
def test_what_is_not_certain_is_refused(tmp_path, names, expected):
    write_images(tmp_path / "images")
    for name in names:
        (tmp_path / name).write_text(json.dumps(content()))
    with pytest.raises(DataError, match=expected):
        load_boxes(tmp_path)


def test_images_that_are_nowhere_are_one_line(tmp_path):
    (tmp_path / "instances.json").write_text(json.dumps(content()))
    with pytest.raises(DataError, match=r'image "a0.png" and the other images are in none of .*Put them into .*images'):
        load_boxes(tmp_path, skip_bad=True)


def test_boxes_are_known_by_their_files(tmp_path):
    write_coco(tmp_path / "coco")
    write_yolo(tmp_path / "yolo")
    write_yolo(tmp_path / "list", has_yaml=False)
    write_images(tmp_path / "photos" / "cat")
    (tmp_path / "photos.json").write_text('[{"path": "photos/cat/a0.png", "label": "cat"}]')
    annotations = tmp_path / "coco" / "annotations" / "instances_train2017.json"
    for path in (tmp_path / "coco", annotations, tmp_path / "yolo", tmp_path / "list"):
        assert holds_boxes(path), path
    for path in (tmp_path / "photos", tmp_path / "photos.json", tmp_path / "nothing", tmp_path / "yolo" / "data.yaml"):
        assert not holds_boxes(path), path


def test_a_set_that_is_loaded_again_is_the_same(tmp_path):
    root = write_coco(tmp_path, has_val=True)
    first, record = load_boxes(root), tmp_path / "images.json"
    again = load_boxes(root, record=record)
    assert first.digest == again.digest and record.exists()
    assert re.fullmatch("[0-9a-f]{64}", first.digest)
    write_images(root / "train2017", 1, start=9)
    assert load_boxes(root).digest == first.digest, "a file that no annotation names is no part of the set"
