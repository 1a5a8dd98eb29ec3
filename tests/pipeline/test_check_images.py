"""The verb `data`: what it finds in folders that are made by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from efficientformer.cli.app import run
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.large import load
from efficientformer.errors import DataError, UsageError
from efficientformer.pipeline.image_sets.check import check_images
from efficientformer.pipeline.image_sets.duplicates import equal_rows


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Five pictures of cats and ten of dogs, each of its own grey."""
    monkeypatch.chdir(tmp_path)
    for first, name, count in ((0, "cat", 5), (100, "dog", 10)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (first + index,) * 3).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


def copied(photos, source, target):
    (photos / target).write_bytes((photos / source).read_bytes())


def test_counts_and_balance(photos):
    record = check_images(photos)
    assert record["classes"] == ["cat", "dog"] and record["split_rule"] == "0.2 of each class held out, seed 0"
    assert record["train"] == {"num_images": 12, "per_class": [4, 8]}
    assert record["val"] == {"num_images": 3, "per_class": [1, 2]}
    assert record["balance"] == {
        "smallest": {"class": "cat", "num_images": 4},
        "median": 6,
        "largest": {"class": "dog", "num_images": 8},
    }
    assert record["broken"] == record["skipped"] == record["duplicates"]["groups"] == []
    assert record["num_read"] == 15


@pytest.mark.parametrize("is_large", [False, True])
def test_the_splits_are_those_of_a_training(photos, monkeypatch, is_large):
    """Also where a file is broken, which a large folder learns after it held out."""
    for name in ("cat/0.png", "dog/3.png", "dog/5.png"):
        (photos / name).write_bytes(b"no picture")
    monkeypatch.setattr(load, "LARGE", 5 if is_large else 100)
    broken = ["cat/0.png", "dog/3.png", "dog/5.png"]
    record = check_images(photos, val_fraction=0.4, seed=2)
    assert [each["file"] for each in record["broken"]] == broken
    trained = load_image_folder(photos, val_fraction=0.4, seed=2)
    for name, split in (("train", trained.train), ("val", trained.val)):
        usable = [index for index in range(len(split)) if split.name(index) not in broken]
        assert record[name]["per_class"] == split.subset(usable).num_images_per_class()


def test_duplicates_in_both_splits_and_in_two_classes(photos):
    for grey, name in ((200, "cat"), (210, "dog")):
        (photos / "train").mkdir(exist_ok=True)
        (photos / name).rename(photos / "train" / name)
        (photos / "val" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (grey,) * 3).save(photos / "val" / name / "0.png")
    copied(photos, "train/cat/1.png", "val/cat/1.png")
    copied(photos, "train/cat/2.png", "train/dog/2b.png")
    copied(photos, "train/dog/4.png", "train/dog/4b.png")
    found = check_images(photos)["duplicates"]
    assert found["num_files"] == 3
    assert found["across"] == [["train/cat/1.png", "val/cat/1.png"]]
    assert found["relabelled"] == [["train/cat/2.png", "train/dog/2b.png"]]
    assert [[copy["file"] for copy in group] for group in found["groups"]][2] == ["train/dog/4.png", "train/dog/4b.png"]
    assert found["groups"][1][1] == {"file": "train/dog/2b.png", "split": "train", "classes": ["dog"]}


def test_the_contact_sheet_has_the_images_of_each_class(photos, tmp_path):
    record = check_images(photos, sheet=tmp_path / "sheet.png")
    with Image.open(record["sheet"]) as sheet:
        sheet = sheet.convert("L")
        rows = [[sheet.getpixel((6 + 102 * place + 48, 126 * row + 24 + 48)) for place in range(10)] for row in (0, 1)]
    held_out = {load_image_folder(photos).val.image(index).convert("L").tobytes()[0] for index in range(3)}
    assert rows[0][:4] == [grey for grey in range(5) if grey not in held_out] and rows[0][4:] == [255] * 6
    assert rows[1][:8] == [grey for grey in range(100, 110) if grey not in held_out]


def test_a_list_with_several_labels(photos, tmp_path):
    rows = ["path,label,split", "photos/cat/0.png,cat|furry,train", "photos/cat/1.png,,train"]
    rows += ["photos/dog/0.png,dog,train", "photos/dog/1.png,dog|furry,val"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    record = check_images(tmp_path / "list.csv")
    assert record["task"] == "multi_label" and record["classes"] == ["cat", "dog", "furry"]
    assert record["train"] == {"num_images": 3, "per_class": [1, 1, 1]} and record["val"]["per_class"] == [0, 1, 1]


def test_the_command_prints_and_takes_json(photos, capsys):
    (photos / "cat" / "bad.png").write_bytes(b"no picture")
    copied(photos, "cat/2.png", "dog/2b.png")
    assert run(["data", str(photos), "--seed", "1"]) == 0
    text = capsys.readouterr().out
    assert "photos: 2 classes, 13 + 3 images" in text and "broken: 1\n  cat/bad.png: not an image" in text
    assert "files that repeat another: 1\n" in text and "photos-images.png" in text
    (group,) = (line for line in text.splitlines() if line.startswith("  in two classes: "))
    assert set(group.partition(": ")[2].split(" = ")) == {"cat/2.png", "dog/2b.png"}
    assert run(["data", str(photos), "--seed", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["broken"][0]["file"] == "cat/bad.png" and record["sheet"] == "photos-images.png"


def test_a_class_without_a_usable_image_is_shown(photos):
    for path in (photos / "cat").iterdir():
        path.write_bytes(b"no picture")
    record = check_images(photos)
    assert record["train"]["per_class"] == [0, 8] and len(record["broken"]) == 5
    for path in (photos / "dog").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="can be decoded"):
        check_images(photos)


def test_what_it_cannot_check_is_refused(photos, tmp_path):
    with pytest.raises(UsageError, match="max-pixels"):
        check_images(photos, max_pixels=0)
    with pytest.raises(DataError, match="does not exist"):
        check_images(tmp_path / "none")


def test_contents_that_begin_alike_are_no_duplicates():
    digests = np.zeros((5, 32), np.uint8)
    digests[[1, 3], 31], digests[2, 0] = 1, 1
    assert equal_rows(digests) == [[0, 4], [1, 3]]


def test_of_a_large_folder_broken_validation_images_are_missing(photos, monkeypatch):
    monkeypatch.setattr(load, "LARGE", 5)
    (photos / load_image_folder(photos).val.name(0)).write_bytes(b"no picture")
    record = check_images(photos)
    assert record["train"]["per_class"] == [4, 8] and record["val"]["per_class"] == [0, 2]


def test_broken_validation_images_are_named(photos):
    (photos / "train").mkdir()
    for name in ("cat", "dog"):
        (photos / name).rename(photos / "train" / name)
        (photos / "val" / name).mkdir(parents=True)
        copied(photos, f"train/{name}/0.png", f"val/{name}/0.png")
    (photos / "val" / "cat" / "1.png").write_bytes(b"no picture")
    assert [each["file"] for each in check_images(photos)["broken"]] == ["val/cat/1.png"]
