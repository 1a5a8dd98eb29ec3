import os

import pytest
from PIL import Image

from efficientformer.data import content
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.unlabelled import load_unlabelled
from efficientformer.errors import DataError, UsageError

EIGHT = tuple(f"{index}.png" for index in range(8))


@pytest.fixture
def pets(tmp_path, write_images):
    for class_name in ("dog", "cat"):
        write_images(tmp_path / "pets" / class_name, *EIGHT)
    return tmp_path / "pets"


@pytest.fixture
def split_pets(tmp_path, write_images):
    for split, names in (("train", EIGHT), ("val", EIGHT[:3])):
        for class_name in ("dog", "cat"):
            write_images(tmp_path / "pets" / split / class_name, *names)
    return tmp_path / "pets"


def names(split):
    return [split.name(index) for index in range(len(split))]


def test_class_folders_are_split(pets):
    dataset = load_image_folder(pets, val_fraction=0.25, seed=3)
    assert dataset.name == "pets" and dataset.classes == ("cat", "dog")
    assert dataset.train.num_images_per_class() == [6, 6]
    assert dataset.val.num_images_per_class() == [2, 2]
    assert not set(names(dataset.train)) & set(names(dataset.val))
    again = load_image_folder(str(pets), val_fraction=0.25, seed=3)
    assert names(again.val) == names(dataset.val) and again.digest == dataset.digest
    assert names(load_image_folder(pets, val_fraction=0.25, seed=4).val) != names(dataset.val)
    for split in (dataset.train, dataset.val):
        for index, label in enumerate(split.labels):
            assert split.name(index).startswith(dataset.classes[label])


def test_given_splits_are_kept(split_pets):
    dataset = load_image_folder(split_pets)
    assert dataset.train.num_images_per_class() == [8, 8]
    assert names(dataset.val) == [f"val/{pet}/{index}.png" for pet in ("cat", "dog") for index in range(3)]
    assert "val" in dataset.split_rule
    assert dataset.val.image(0).size == (12, 9)


def test_broken_files_are_skipped_and_named(split_pets):
    (split_pets / "train" / "dog" / "0.png").write_bytes(b"")
    (split_pets / "train" / "cat" / "words.jpg").write_text("not a picture")
    whole = (split_pets / "val" / "cat" / "1.png").read_bytes()
    (split_pets / "val" / "cat" / "1.png").write_bytes(whole[:48])
    dataset = load_image_folder(split_pets)
    assert [skipped.file for skipped in dataset.skipped] == ["train/cat/words.jpg", "train/dog/0.png", "val/cat/1.png"]
    assert dataset.train.num_images_per_class() == [8, 7] and dataset.val.num_images_per_class() == [2, 3]
    assert "train/dog/0.png" not in names(dataset.train)
    assert all("\n" not in skipped.reason for skipped in dataset.skipped)


def test_progress_reaches_the_total(pets):
    seen = []
    load_image_folder(pets, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (16, 16) and len(seen) == 16


def test_a_checked_folder_is_neither_read_nor_decoded_again(pets, tmp_path, later, monkeypatch):
    (pets / "dog" / "0.png").write_bytes(b"broken")
    (pets / "loose.png").touch()
    first = load_image_folder(pets, record=tmp_path / "images.json")
    monkeypatch.setattr(content, "file_digest", None)
    monkeypatch.setattr(content, "read_image", None)
    seen = []
    second = load_image_folder(
        pets, record=tmp_path / "images.json", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == []
    assert second.to_record() == first.to_record()
    assert names(second.train) == names(first.train) and names(second.val) == names(first.val)


def test_only_what_changed_is_checked_again(pets, tmp_path, later):
    first = load_image_folder(pets, record=tmp_path / "images.json")
    (pets / "cat" / "7.png").write_bytes(b"now broken")
    seen = []
    second = load_image_folder(
        pets, record=tmp_path / "images.json", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 1)] and second.digest != first.digest
    assert [skipped.file for skipped in second.skipped] == ["cat/7.png"]


@pytest.mark.parametrize("record", [None, "images.json"])
def test_swapped_folders_of_files_of_the_same_size_are_noticed(tmp_path, later, record):
    for class_name, color in (("cat", 10), ("dog", 200)):
        (tmp_path / "pets" / class_name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (8, 8), (color, index, 0)).save(tmp_path / "pets" / class_name / f"{index}.bmp")
            os.utime(tmp_path / "pets" / class_name / f"{index}.bmp", (10**9, 10**9))  # as archives restore them
    record = record and tmp_path / record
    before = load_image_folder(tmp_path / "pets", record=record)
    for old, new in (("cat", "other"), ("dog", "cat"), ("other", "dog")):
        (tmp_path / "pets" / old).rename(tmp_path / "pets" / new)
    after = load_image_folder(tmp_path / "pets", record=record)
    assert after.digest != before.digest
    assert after.train.image(0).getpixel((0, 0))[0] == 200


def test_a_file_that_changes_while_a_command_runs_is_noticed(pets):
    dataset = load_image_folder(pets)
    path = pets / dataset.train.name(0)
    path.touch()
    assert dataset.train.image(0).size == (12, 9), "the same content at another time"
    Image.new("RGB", (5, 5)).save(path)
    with pytest.raises(DataError, match="has changed since this command began"):
        dataset.train.image(0)


def test_what_is_usable_is_part_of_the_digest(pets):
    Image.new("RGB", (300, 300)).save(pets / "cat" / "large.png")
    small, all_of_them = load_image_folder(pets, max_pixels=1000), load_image_folder(pets)
    assert small.digest != all_of_them.digest
    (skipped,) = small.skipped
    assert skipped.file == "cat/large.png" and "300 x 300" in skipped.reason and "--max-pixels" in skipped.reason


def test_the_same_picture_twice_is_a_warning(tmp_path):
    for number, file in enumerate(
        ("train/cat/0", "train/cat/1", "train/dog/0", "train/dog/1", "val/cat/0", "val/dog/0")
    ):
        path = tmp_path / f"{file}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    assert load_image_folder(tmp_path).warnings == ()
    for copy, original in (("train/dog/1", "train/cat/1"), ("val/cat/0", "train/cat/0")):
        (tmp_path / f"{copy}.png").write_bytes((tmp_path / f"{original}.png").read_bytes())
    labels, leak = load_image_folder(tmp_path).warnings
    assert labels == "the same picture in two classes: 1 (train/dog/1.png is train/cat/1.png, ...)"
    assert "val/cat/0.png is train/cat/0.png" in leak


def test_a_file_that_disappears_later_is_named(pets):
    dataset = load_image_folder(pets)
    name = dataset.train.name(0)
    (pets / name).unlink()
    with pytest.raises(DataError, match=name):
        dataset.train.image(0)


def test_folders_without_pictures(tmp_path):
    for class_name in ("cat", "dog"):
        (tmp_path / class_name).mkdir()
        (tmp_path / class_name / "notes.txt").touch()
    with pytest.raises(DataError, match=r"No images.*'cat': .*[.]txt.*'dog': .*[.]txt"):
        load_image_folder(tmp_path)


def test_one_class_is_not_enough(tmp_path, write_images):
    write_images(tmp_path / "cat", *EIGHT)
    with pytest.raises(DataError, match=r"Only one class.*'cat'"):
        load_image_folder(tmp_path)


def test_an_empty_class_is_named(pets):
    (pets / "bird").mkdir()
    with pytest.raises(DataError, match="'bird'"):
        load_image_folder(pets)


def test_a_class_of_broken_files_is_named_with_an_example(pets):
    for name in EIGHT:
        (pets / "dog" / name).write_text("no")
    with pytest.raises(DataError, match=r"'dog'.*dog/0\.png: not an image"):
        load_image_folder(pets)


def test_validation_classes_must_agree(split_pets, write_images):
    write_images(split_pets / "val" / "bird", "a.png")
    write_images(split_pets / "train" / "fish", "a.png")
    with pytest.raises(DataError, match=r"Only in training: 'fish'.*Only in validation: 'bird'"):
        load_image_folder(split_pets)


def test_long_lists_of_names_are_cut(split_pets, write_images):
    for index in range(9):
        write_images(split_pets / "val" / f"bird{index}", "a.png")
    with pytest.raises(DataError, match="'bird4' and 4 more"):
        load_image_folder(split_pets)


def test_a_class_too_small_to_split_is_named(pets, write_images):
    write_images(pets / "bird", "only.png")
    with pytest.raises(DataError, match="'bird' has 1; every class needs at least 3"):
        load_image_folder(pets)


def test_an_impossible_fraction(pets):
    with pytest.raises(UsageError, match="between 0 and 1"):
        load_image_folder(pets, val_fraction=1.1)


def test_validation_images_are_left_out_of_unlabelled_ones_under_any_name(tmp_path, write_images):
    train, val = tmp_path / "pets" / "train", tmp_path / "pets" / "val"
    for class_name in ("puppy", "cat"):  # names of other lengths have other colors
        write_images(train / class_name, *(f"{index}.png" for index in range(6)))
        (val / class_name).mkdir(parents=True)
        for index in range(3):
            (train / class_name / f"{index}.png").rename(val / class_name / f"{index}.png")
    dataset = load_image_folder(tmp_path / "pets")
    whole = load_unlabelled(tmp_path / "pets", validation=dataset.val)
    assert (len(whole.images), whole.num_validation) == (6, 6)
    (tmp_path / "more").mkdir()
    (val / "cat" / "0.png").rename(tmp_path / "more" / "other name.png")
    with pytest.raises(DataError, match="no picture but validation images"):
        load_unlabelled(tmp_path / "more", validation=dataset.val)
    assert len(load_unlabelled(tmp_path / "more").images) == 1
