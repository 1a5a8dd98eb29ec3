from typing import Any

import pytest

from efficientformer.data.image_folder import load_image_folder
from efficientformer.errors import DataError, UsageError
from efficientformer.reading import read_record
from efficientformer.records import write_record

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


def test_a_known_folder_is_not_decoded_again(pets, tmp_path):
    (pets / "dog" / "0.png").write_bytes(b"broken")
    (pets / "loose.png").touch()
    first = load_image_folder(pets)
    write_record(tmp_path / "data.json", first.to_record())
    known = read_record(tmp_path / "data.json", Any)
    seen = []
    second = load_image_folder(pets, known=known, progress=lambda done, total: seen.append(done))
    assert seen == []
    assert second.to_record() == first.to_record()
    assert names(second.train) == names(first.train) and names(second.val) == names(first.val)


def test_a_changed_folder_is_decoded_again(pets):
    known = load_image_folder(pets).to_record()
    (pets / "cat" / "7.png").write_bytes(b"now broken")
    dataset = load_image_folder(pets, known=known)
    assert dataset.digest != known["digest"]
    assert [skipped.file for skipped in dataset.skipped] == ["cat/7.png"]


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
    with pytest.raises(DataError, match=r"No images.*'cat', 'dog'"):
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
    with pytest.raises(DataError, match="'bird' has only one"):
        load_image_folder(pets)


def test_an_impossible_fraction(pets):
    with pytest.raises(UsageError, match="between 0 and 1"):
        load_image_folder(pets, val_fraction=1.0)
