"""A large folder is the same data set as a small one, and its kept listing is believed only while it is true."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.large import class_files, found, load
from efficientformer.data.large.kept import kept_file, one_at_a_time, write_arrays
from efficientformer.data.loading.memory import hold_in_memory
from efficientformer.data.unlabelled import load_unlabelled
from efficientformer.errors import DataError

SIX = tuple(f"{index}.bmp" for index in range(6))


@pytest.fixture(autouse=True)
def large_from_ten(monkeypatch):
    monkeypatch.setattr(load, "LARGE", 10)


@pytest.fixture
def pets(tmp_path, write_images):
    for class_name in ("dog", "cat", "ant/deeper"):
        write_images(tmp_path / "pets" / class_name, *SIX)
    return tmp_path / "pets"


def kept_listing(pets):
    kept = kept_file(pets, "listings")
    assert kept is not None
    return kept


@pytest.fixture
def listed(monkeypatch):
    """The class folders that were listed."""
    folders = []

    def list_class(root, folder):
        folders.append(folder.name)
        return class_files.list_class(root, folder)

    monkeypatch.setattr(load, "list_class", list_class)
    return folders


def facts(dataset):
    splits = (dataset.train, dataset.val)
    return [[(split.name(index), split.labels[index]) for index in range(len(split))] for split in splits]


@pytest.mark.parametrize("has_val", [False, True])
def test_it_is_the_set_that_a_small_folder_is(pets, write_images, monkeypatch, has_val):
    if has_val:
        pets.rename(pets.with_name("train"))
        (pets / "val").mkdir(parents=True)
        pets.with_name("train").rename(pets / "train")
        for class_name in ("dog", "cat", "ant"):
            write_images(pets / "val" / class_name, *SIX[:2])
    folder = pets / "train" if has_val else pets
    write_images(folder, "loose.png")
    write_images(folder / ".hidden", "a.png")
    (folder / "cat" / "words.txt").write_text("")
    (folder / "cat" / "é.heic").touch()
    (folder / "dog" / "empty.png").touch()
    large = load_image_folder(pets, val_fraction=0.3, seed=5)
    monkeypatch.setattr(load, "LARGE", 1000)
    small = load_image_folder(pets, val_fraction=0.3, seed=5)
    assert facts(large) == facts(small) and large.skipped == small.skipped and len(small.skipped) == 3
    for name in ("classes", "name", "layout", "split_rule", "is_held_out"):
        assert getattr(large, name) == getattr(small, name)
    assert [split.num_images_per_class() for split in (large.train, large.val)] == [
        split.num_images_per_class() for split in (small.train, small.val)
    ]
    assert large.train.groups() == small.train.groups()
    assert large.train.image(0).tobytes() == small.train.image(0).tobytes()
    assert large.notes[:-1] == small.notes and "not decoded" in large.notes[-1]


@pytest.mark.parametrize("num_images, is_large", [(17, True), (18, True), (19, False)])
def test_the_number_of_images_decides(pets, monkeypatch, num_images, is_large):
    monkeypatch.setattr(load, "LARGE", num_images)
    assert ("not decoded" in "".join(load_image_folder(pets).notes)) == is_large


def test_a_second_load_lists_nothing(pets, listed, later):
    first = load_image_folder(pets)
    assert sorted(listed) == ["ant", "cat", "dog"]
    listed.clear()
    second = load_image_folder(pets)
    assert not listed and facts(second) == facts(first) and second.digest == first.digest


def test_a_folder_is_known_by_any_of_its_names(pets, listed, later, monkeypatch):
    digest = load_image_folder(pets).digest
    listed.clear()
    monkeypatch.chdir(pets)
    for name in (".", "../pets", pets / "cat" / ".."):
        assert load_image_folder(name).digest == digest
    assert not listed


def test_a_folder_changed_in_the_moment_of_its_listing_is_listed_again(pets, listed):
    load_image_folder(pets)
    load_image_folder(pets)
    assert len(listed) == 6


def added(cat):
    Image.new("RGB", (5, 5)).save(cat / "new.bmp")


def removed(cat):
    (cat / "3.bmp").unlink()


def renamed(cat):
    (cat / "3.bmp").rename(cat / "9.bmp")


def replaced(cat):
    """By a file of the same size and time."""
    status = (cat / "3.bmp").stat()
    Image.new("RGB", (12, 9), (9, 9, 9)).save(cat / "new.bmp")
    os.utime(cat / "new.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    (cat / "new.bmp").replace(cat / "3.bmp")


def rewritten(cat):
    """In place, with the same size: the folder does not change."""
    Image.new("RGB", (12, 9), (9, 9, 9)).save(cat / "3.bmp")


@pytest.mark.parametrize("change", [added, removed, renamed, replaced, rewritten])
def test_a_change_makes_it_another_set(pets, listed, later, change):
    first = load_image_folder(pets)
    before = {name for split in facts(first) for name, _ in split}
    listed.clear()
    change(pets / "cat")
    second = load_image_folder(pets)
    after = {name for split in facts(second) for name, _ in split}
    names = {added: {"cat/new.bmp"}, removed: {"cat/3.bmp"}, renamed: {"cat/3.bmp", "cat/9.bmp"}}
    assert before ^ after == names.get(change, set())
    assert second.digest != first.digest
    assert listed if change is rewritten else listed == ["cat"]


def test_of_files_outside_the_sample_the_size_is_known(pets, later, monkeypatch):
    monkeypatch.setattr(found, "SAMPLE", 2)
    first = load_image_folder(pets)
    replaced(pets / "cat")
    assert load_image_folder(pets).digest == first.digest
    with (pets / "cat" / "new.bmp").open("wb") as file:
        file.write((pets / "cat" / "3.bmp").read_bytes() + b"0")
    (pets / "cat" / "new.bmp").replace(pets / "cat" / "3.bmp")
    assert load_image_folder(pets).digest != first.digest


def test_a_change_deep_in_a_class_is_noticed(pets, later):
    first = load_image_folder(pets)
    (pets / "ant" / "deeper" / "3.bmp").unlink()
    second = load_image_folder(pets)
    assert len(second.train) + len(second.val) == len(first.train) + len(first.val) - 1


def test_a_copy_with_other_times_is_the_same_set(pets, later):
    first = load_image_folder(pets)
    for path in pets.rglob("*.bmp"):
        os.utime(path, ns=(1, 1))
    assert load_image_folder(pets).digest == first.digest


def test_what_was_left_out_is_looked_at_again(pets, later, write_images):
    (pets / "cat" / "late.bmp").touch()
    assert [skipped.file for skipped in load_image_folder(pets).skipped] == ["cat/late.bmp"]
    (pets / "cat" / "late.bmp").write_bytes((pets / "cat" / "0.bmp").read_bytes())
    dataset = load_image_folder(pets)
    assert not dataset.skipped and len(dataset.train) + len(dataset.val) == 19


@pytest.mark.parametrize("damage", ["cut", "other", "lengths"])
def test_a_damaged_listing_is_made_again(pets, listed, later, damage):
    first = load_image_folder(pets)
    kept = kept_listing(pets)
    if damage == "lengths":
        with np.load(kept) as arrays:
            content = {**arrays, "sizes": arrays["sizes"][:-1]}
        write_arrays(kept, content)
    else:
        kept.write_bytes(kept.read_bytes()[:-30] if damage == "cut" else b"[]")
    listed.clear()
    assert load_image_folder(pets).digest == first.digest and len(listed) == 3


def test_a_file_that_changes_meanwhile_ends_the_command_and_the_listing(pets, later):
    dataset = load_image_folder(pets)
    kept = kept_listing(pets)
    assert kept.exists()
    (pets / dataset.train.name(0)).write_bytes(b"BM")
    with pytest.raises(DataError, match=r"0\.bmp has changed since the images were listed\. Run the same command"):
        dataset.train.image(0)
    assert not kept.exists()


def test_too_few_images_and_other_classes_are_refused(pets, write_images):
    write_images(pets / "bee", "0.bmp")
    with pytest.raises(DataError, match="'bee' has 1"):
        load_image_folder(pets)
    (pets / "bee" / "0.bmp").write_bytes(b"")
    with pytest.raises(DataError, match="No images of class 'bee'"):
        load_image_folder(pets)


def test_unlabelled_images_are_no_validation_images(pets, tmp_path, later):
    dataset = load_image_folder(pets)
    own = tmp_path / "unlabelled"
    own.mkdir()
    for index in range(len(dataset.val)):
        (own / f"copy{index}.bmp").write_bytes((pets / dataset.val.name(index)).read_bytes())
    Image.new("RGB", (12, 9), (1, 1, 1)).save(own / "other.bmp")
    found = load_unlabelled(own, validation=dataset.val)
    assert found.num_validation == len(dataset.val) and found.images.name(0) == "other.bmp"


def test_it_is_not_decoded_to_be_held_in_memory(pets):
    split = load_image_folder(pets).train
    assert hold_in_memory(split, 8) is split


def test_one_process_lists_at_a_time(tmp_path):
    entered = threading.Event()

    def wait():
        with one_at_a_time(tmp_path / "a.npz"):
            entered.set()

    with one_at_a_time(tmp_path / "a.npz"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_without_a_place_to_keep_it_a_folder_is_listed_each_time(pets, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept_file(pets, "listings") is None
    assert load_image_folder(pets).digest == load_image_folder(pets).digest
