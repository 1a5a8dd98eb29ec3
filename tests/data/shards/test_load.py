"""Shards, ours or others', as a set of images."""

import io
import json
import os

import pytest
from PIL import Image

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.large import load
from efficientformer.data.large.kept import kept_file
from efficientformer.data.loading.memory import hold_in_memory
from efficientformer.data.shards import load as shards_load
from efficientformer.data.shards import shard
from efficientformer.data.shards.layout import is_shard_set
from efficientformer.errors import DataError


@pytest.fixture
def listed(monkeypatch):
    """The shards that were listed."""
    files = []

    def list_shard(root, file):
        files.append(file)
        return shard.list_shard(root, file)

    monkeypatch.setattr(shards_load, "list_shard", list_shard)
    return files


def facts(split):
    """Class and grey of each image."""
    return [(split.classes[label], split.image(i).getpixel((0, 0))[0]) for i, label in enumerate(split.labels)]


@pytest.mark.parametrize("is_large", [False, True])
def test_images_and_classes(shards, monkeypatch, is_large):
    monkeypatch.setattr(load, "LARGE", 5 if is_large else 1000)
    dataset = load_image_folder(shards)
    expected = [("0", grey) for grey in range(10)] + [("1", grey) for grey in range(100, 110)]
    assert facts(dataset.train) == expected
    assert facts(dataset.val) == [("0", 20), ("0", 21), ("1", 120), ("1", 121)]
    assert dataset.train.name(0) == "train-000000.tar/000.png" and not dataset.is_held_out
    assert dataset.layout == "2 shards of training images, 1 shard of validation images"
    assert ("not decoded" in str(dataset.notes)) == is_large
    assert (hold_in_memory(dataset.train, 8) is dataset.train) == is_large


def test_without_validation_shards_images_are_held_out(shards):
    (shards / "val-000000.tar").unlink()
    dataset = load_image_folder(shards, val_fraction=0.3, seed=4)
    assert dataset.is_held_out and dataset.val.num_images_per_class() == [3, 3]
    assert sorted(facts(dataset.train) + facts(dataset.val))[0] == ("0", 0)
    again = load_image_folder(shards, val_fraction=0.3, seed=5)
    assert facts(again.val) != facts(dataset.val) and again.digest == dataset.digest


def test_labels_of_other_writers(write_shard, tmp_path):
    """In JSON, as names, as numbers that sort as numbers, in any order; other members are named."""
    write_shard(
        "cc-train-00.tar",
        {
            "./x/a.JPG": 1,
            "./x/a.json": json.dumps({"label": 10, "caption": "a"}),
            "./x/a.txt": "a",
            "b.cls": " 9\n",
            "b.png": 2,
            "c.seg.png": 3,
            "c.png": 4,
            "c.json": '{"label": "2"}',
            "README": "words",
            "._c.png": "of a Mac",
            "d.cls": "9",
        },
    )
    write_shard("validation/0.tar", {"a.png": 5, "a.cls": "9", "b.png": 6, "b.cls": "2", "c.png": 7, "c.cls": "10"})
    dataset = load_image_folder(tmp_path / "shards")
    assert dataset.classes == ("2", "9", "10")
    assert facts(dataset.train) == [("2", 4), ("9", 2), ("10", 1)]
    assert dataset.notes == ("ignored files that are no pictures by their names: .cls, .txt, without extension",)
    (tmp_path / "shards" / "classes.txt").write_text("\n".join(f"name{number}" for number in range(11)))
    with pytest.raises(DataError, match="No training image of 'name0', 'name1', 'name3', 'name4', 'name5' and 3 more"):
        load_image_folder(tmp_path / "shards")


def test_classes_have_the_names_and_the_order_of_classes_txt(shards):
    (shards / "classes.txt").write_bytes("zebra\r\näffchen\r\n".encode())
    assert load_image_folder(shards).classes == ("zebra", "äffchen")
    (shards / "classes.txt").write_text("zebra\n")
    with pytest.raises(DataError, match=r"has the label '1', and .*classes\.txt 1 classes, from 0 on, without it"):
        load_image_folder(shards)
    (shards / "classes.txt").write_text("zebra\nzebra\n")
    with pytest.raises(DataError, match="the line 'zebra' more than once"):
        load_image_folder(shards)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a.png": 1}, r"'a' has no label. Each picture needs a .cls .* or a .json with that as 'label'"),
        ({"a.png": 1, "a.json": '{"caption": "cat"}'}, "'a' has no label"),
        ({"a.png": 1, "a.json": '{"label": true}'}, "'a' has no label"),
        ({"a.png": 1, "a.json": "{"}, "label of 'a' cannot be read: it is not JSON"),
        ({"a.png": 1, "a.jpg": 1, "a.cls": "0"}, "several pictures of 'a': jpg, png"),
        ({"a.png": 1, "./a.png": 1, "a.cls": "0"}, "holds a.png twice"),
        ({"a.txt": "cat"}, "no shard holds a picture with a label"),
        ({"a.png": 1, "a.cls": "0"}, "Only one class in .*: '0'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(write_shard, tmp_path, members, words):
    write_shard("x.tar", members)
    with pytest.raises(DataError, match=words):
        load_image_folder(tmp_path / "shards")
    with pytest.raises(DataError, match=words):
        load_image_folder(tmp_path / "shards" / "x.tar")


def test_splits_that_could_be_any_are_refused(shards, write_shard):
    (shards / "val-000000.tar").rename(shards / "more.tar")
    with pytest.raises(DataError, match=r"shards of named splits, and more\.tar, which could be of any"):
        load_image_folder(shards)
    (shards / "more.tar").rename(shards / "test.tar")
    assert len(load_image_folder(shards).val) == 4
    for name in ("train-000000.tar", "train-000001.tar"):
        (shards / name).unlink()
    with pytest.raises(DataError, match=r"test\.tar and no training images"):
        load_image_folder(shards)


def test_a_gap_between_numbers_is_named(shards):
    (shards / "train-000001.tar").rename(shards / "train-000003.tar")
    notes = load_image_folder(shards).notes
    assert notes == ("shards are missing: train-000001.tar, train-000002.tar",)
    Image.new("RGB", (8, 8)).save(shards / "sheet.png")
    assert "pictures that are in no shard are not used: sheet.png" in load_image_folder(shards).notes


def test_photos_with_an_archive_next_to_them_are_no_shards(shards, tmp_path):
    assert is_shard_set(shards) and is_shard_set(shards / "train-000000.tar")
    (shards / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(shards / "cat" / "0.png")
    assert not is_shard_set(shards) and not is_shard_set(shards / "cat") and not is_shard_set(tmp_path / "none")


def test_a_shard_is_listed_once(shards, listed, later):
    first = load_image_folder(shards)
    assert listed == ["train-000000.tar", "train-000001.tar", "val-000000.tar"]
    listed.clear()
    second = load_image_folder(shards)
    assert not listed and second.digest == first.digest and facts(second.train) == facts(first.train)
    kept = kept_file(shards, "listings")
    kept.write_bytes(kept.read_bytes()[:-30])
    assert load_image_folder(shards).digest == first.digest and len(listed) == 3


def test_a_changed_shard_alone_is_listed_again(shards, listed, later, write_shard):
    first = load_image_folder(shards)
    listed.clear()
    write_shard("val-000000.tar", {"a.png": 30, "a.cls": "0", "b.png": 31, "b.cls": "1"})
    second = load_image_folder(shards)
    assert listed == ["val-000000.tar"] and second.digest != first.digest
    assert facts(second.val) == [("0", 30), ("1", 31)] and facts(second.train) == facts(first.train)


def test_a_copy_with_other_times_is_the_same_set(shards):
    first = load_image_folder(shards)
    for path in shards.iterdir():
        os.utime(path, ns=(1, 1))
    assert load_image_folder(shards).digest == first.digest


@pytest.mark.parametrize("is_large", [False, True])
def test_other_contents_of_the_same_size_are_another_set(shards, write_shard, monkeypatch, is_large):
    monkeypatch.setattr(load, "LARGE", 5 if is_large else 1000)
    digests = set()
    for grey in (1, 2, 2):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (grey,) * 3).save(picture, "BMP")
        write_shard("val-000000.tar", {"a.bmp": picture.getvalue(), "a.cls": "0", "b.png": 31, "b.cls": "1"})
        digests.add(load_image_folder(shards).digest)
    assert len(digests) == 2


def test_pictures_that_are_not_read_are_named(shards, write_shard):
    write_shard("train-000002.tar", {"a.svg": "<svg>", "a.cls": "0", "b.png": b"", "b.cls": "1"})
    skipped = load_image_folder(shards).skipped
    assert [(each.file, each.reason) for each in skipped] == [
        ("train-000002.tar/a.svg", ".svg files are not read; convert it to JPEG or PNG"),
        ("train-000002.tar/b.png", "empty file"),
    ]


def test_of_few_images_broken_ones_are_left_out_at_first(shards, write_shard):
    write_shard("train-000002.tar", {"a.png": "no picture", "a.cls": "0", "b.png": 9, "b.cls": "1"})
    dataset = load_image_folder(shards)
    assert [each.file for each in dataset.skipped] == ["train-000002.tar/a.png"]
    assert dataset.train.num_images_per_class() == [10, 11]
    write_shard("val-000000.tar", {"a.png": "no picture", "a.cls": "0", "b.png": 9, "b.cls": "1"})
    with pytest.raises(DataError, match=r"No usable image of class '0' in shards.*val-000000\.tar/a\.png: not"):
        load_image_folder(shards)


def test_a_damaged_shard_is_refused_and_the_others_stay_listed(shards, listed, later):
    path = shards / "val-000000.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    with pytest.raises(DataError, match=r"val-000000\.tar is cut short: .* Copy or download it again, or remove it"):
        load_image_folder(shards)
    listed.clear()
    path.write_bytes(whole)
    assert len(load_image_folder(shards).val) == 4 and listed == ["val-000000.tar"]
