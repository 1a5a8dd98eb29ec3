import contextlib
import os
import sys

import pytest

from efficientformer.data import listing
from efficientformer.data.listing import find_layout, list_images, listing_digest
from efficientformer.errors import DataError


def names(root, folder=None):
    return [image.name for image in list_images(root, folder or root).images]


def test_train_beside_val(tmp_path, write_images):
    for split in ("train", "val", "test"):
        write_images(tmp_path / split / "cat", "a.png")
    layout = find_layout(tmp_path)
    assert layout.train == tmp_path / "train" and layout.val == tmp_path / "val"


@pytest.mark.parametrize("name", ["validation", "valid", "test", "Val"])
def test_other_names_of_the_validation_folder(tmp_path, write_images, name):
    write_images(tmp_path / "Train" / "cat", "a.png")
    write_images(tmp_path / name / "cat", "a.png")
    assert find_layout(tmp_path).val == tmp_path / name


def test_train_alone_is_split_further(tmp_path, write_images):
    write_images(tmp_path / "train" / "cat", "a.png")
    layout = find_layout(tmp_path)
    assert layout.train == tmp_path / "train" and layout.val is None


def test_a_class_may_be_called_train_or_test(tmp_path, write_images):
    for name in ("train", "bus", "test"):
        write_images(tmp_path / name, "a.png")
    layout = find_layout(tmp_path)
    assert layout.train == tmp_path and layout.val is None
    assert list_images(tmp_path, tmp_path).classes == {"train", "bus", "test"}


def test_val_without_train_is_not_taken_for_a_class(tmp_path, write_images):
    write_images(tmp_path / "val" / "cat", "a.png")
    write_images(tmp_path / "test" / "cat", "a.png")
    with pytest.raises(DataError, match="no train/"):
        find_layout(tmp_path)


def test_missing_file_and_flat_folders(tmp_path, write_images):
    with pytest.raises(DataError, match="does not exist"):
        find_layout(tmp_path / "nowhere")
    (tmp_path / "images.zip").touch()
    with pytest.raises(DataError, match="is a file"):
        find_layout(tmp_path / "images.zip")
    write_images(tmp_path / "flat", "a.png")
    with pytest.raises(DataError, match="no class folders"):
        find_layout(tmp_path / "flat")


def test_a_split_folder_without_classes(tmp_path, write_images):
    write_images(tmp_path / "train" / "cat", "a.png")
    write_images(tmp_path / "val", "a.png")
    with pytest.raises(DataError, match=r"val holds no class folders"):
        list_images(tmp_path, tmp_path / "val")


def test_extensions_in_any_case_nested_and_hidden(tmp_path, write_images):
    write_images(tmp_path / "cat", "a.JPG", "b.jpeg", "c.Tiff", "d.webp", "e.gif", "f.ppm", "g.bmp")
    write_images(tmp_path / "cat" / "deep" / "er", "h.png")
    write_images(tmp_path / "cat" / ".thumbnails", "i.png")
    write_images(tmp_path / ".hidden", "j.png")
    write_images(tmp_path / "__MACOSX", "k.png")
    (tmp_path / "cat" / "._a.jpg").touch()
    (tmp_path / "cat" / "notes.txt").touch()
    assert names(tmp_path) == [
        "cat/a.JPG",
        "cat/b.jpeg",
        "cat/c.Tiff",
        "cat/d.webp",
        "cat/deep/er/h.png",
        "cat/e.gif",
        "cat/f.ppm",
        "cat/g.bmp",
    ]
    assert list_images(tmp_path, tmp_path).classes == {"cat"}


def test_what_cannot_count_is_named(tmp_path, write_images):
    write_images(tmp_path / "cat", "a.png")
    write_images(tmp_path, "loose.png")
    (tmp_path / "cat" / "phone.HEIC").touch()
    (tmp_path / "cat" / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    skipped = {entry.file: entry.reason for entry in list_images(tmp_path, tmp_path).skipped}
    assert skipped.keys() == {"loose.png", "cat/phone.HEIC", "cat/gone.jpg"}
    assert "convert" in skipped["cat/phone.HEIC"] and "link" in skipped["cat/gone.jpg"]


def test_links_are_followed_but_never_in_circles(tmp_path, write_images):
    write_images(tmp_path / "elsewhere", "a.png")
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "data" / "cat" / "again").symlink_to(tmp_path / "data" / "cat", target_is_directory=True)
    write_images(tmp_path / "data" / "cat", "b.png")
    assert names(tmp_path / "data") == ["cat/b.png", "dog/a.png"]


def test_the_order_does_not_depend_on_the_file_system(tmp_path, write_images, monkeypatch):
    for class_name in ("b", "a"):
        write_images(tmp_path / class_name, "2.png", "10.png", "1.png")
    forward = list_images(tmp_path, tmp_path)
    real = os.scandir

    def backward(path):
        return contextlib.nullcontext(sorted(real(path), key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(listing.os, "scandir", backward)
    assert list_images(tmp_path, tmp_path).images == forward.images
    assert names(tmp_path)[0] == "a/1.png"


def test_the_digest_notices_names_sizes_and_classes(tmp_path, write_images):
    write_images(tmp_path / "cat", "a.png", "b.png")

    def digest():
        return listing_digest([list_images(tmp_path, tmp_path)])

    seen = [digest()]
    assert digest() == seen[0]
    (tmp_path / "cat" / "b.png").rename(tmp_path / "cat" / "c.png")
    seen.append(digest())
    with (tmp_path / "cat" / "c.png").open("ab") as stream:
        stream.write(b"more")
    seen.append(digest())
    (tmp_path / "dog").mkdir()
    (tmp_path / "cat" / "c.png").rename(tmp_path / "dog" / "c.png")
    seen.append(digest())
    assert len(set(seen)) == 4


def test_names_in_other_scripts_are_composed(tmp_path, write_images):
    write_images(tmp_path / "cafe\u0301", "тест.png")
    write_images(tmp_path / "猫", "a b.png")
    listing = list_images(tmp_path, tmp_path)
    assert listing.classes == {"caf\u00e9", "猫"}
    assert [image.name for image in listing.images] == ["caf\u00e9/тест.png", "猫/a b.png"]
    assert all((tmp_path / image.file).is_file() for image in listing.images)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_can_be_listed_and_recorded(tmp_path, write_images):
    write_images(tmp_path / "cat", os.fsdecode(b"\xff\xfe.png"))
    (image,) = list_images(tmp_path, tmp_path).images
    image.name.encode("utf-8")
    assert (tmp_path / image.file).is_file()
