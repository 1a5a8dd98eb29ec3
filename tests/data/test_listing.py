import contextlib
import os
import re
import sys
from pathlib import Path

import pytest

from efficientformer.data import walk
from efficientformer.data.listing import list_images
from efficientformer.errors import DataError


def names(root, folder=None):
    return [image.name for image in list_images(root, folder or root).images]


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
    skipped = {entry.file: entry.reason for entry in list_images(tmp_path, tmp_path).left_out.skipped}
    assert skipped.keys() == {"loose.png", "cat/phone.HEIC", "cat/gone.jpg"}
    assert "pip install pillow-heif" in skipped["cat/phone.HEIC"] and "link" in skipped["cat/gone.jpg"]


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

    monkeypatch.setattr(walk.os, "scandir", backward)
    assert list_images(tmp_path, tmp_path).images == forward.images
    assert names(tmp_path)[0] == "a/1.png"


def test_names_in_other_scripts_are_composed(tmp_path, write_images):
    write_images(tmp_path / "cafe\u0301", "тест.png")
    write_images(tmp_path / "猫", "a b.png")
    listing = list_images(tmp_path, tmp_path)
    assert listing.classes == {"caf\u00e9", "猫"}
    assert [image.name for image in listing.images] == ["caf\u00e9/тест.png", "猫/a b.png"]
    assert all((tmp_path / image.file).is_file() for image in listing.images)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_are_skipped_and_named(tmp_path, write_images):
    write_images(tmp_path / "cat", os.fsdecode(b"\xff.png"), "a.png")
    for name in (b"caf\xe8", b"caf\xe9"):  # they would be one class, called with a question mark
        write_images(tmp_path / os.fsdecode(name), "a.png")
    listing = list_images(tmp_path, tmp_path)
    assert listing.classes == {"cat"} and [image.name for image in listing.images] == ["cat/a.png"]
    skipped = {entry.file: entry.reason for entry in listing.left_out.skipped}
    assert skipped.keys() == {r"cat/\xff.png", r"caf\xe8", r"caf\xe9"} and "UTF-8" in skipped[r"caf\xe8"]


def test_two_spellings_of_a_class_are_refused(tmp_path, write_images):
    write_images(tmp_path / "cafe\u0301", "a.png")
    write_images(tmp_path / "caf\u00e9", "a.png")
    with pytest.raises(DataError, match="two folders called 'caf\u00e9'"):
        list_images(tmp_path, tmp_path)


def test_a_class_folder_that_cannot_be_entered_is_no_class(tmp_path, write_images, monkeypatch):
    for name in ("cat", "dog", "locked"):
        write_images(tmp_path / name, "a.png")
    real = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(walk.os, "scandir", refuse)
    listing = list_images(tmp_path, tmp_path)
    assert listing.classes == {"cat", "dog"}
    (skipped,) = listing.left_out.skipped
    assert skipped.file == "locked" and "Permission denied" in skipped.reason


@pytest.mark.parametrize(
    "files, reason",
    [
        (["a.psd", "b.psd"], "2 skipped .*[.]psd files are not read; convert"),
        (["a.txt", "b.npy"], "no pictures by their names: .npy, .txt"),
        ([], "it is empty"),
        (["Thumbs.db", ".hidden.jpg"], "nothing but hidden and system files and folders: hidden pictures"),
    ],
)
def test_an_empty_class_says_why(tmp_path, write_images, files, reason):
    write_images(tmp_path / "cat", "a.png")
    (tmp_path / "dog").mkdir()
    for name in files:
        (tmp_path / "dog" / name).touch()
    assert re.search(reason, list_images(tmp_path, tmp_path).empty["dog"])
