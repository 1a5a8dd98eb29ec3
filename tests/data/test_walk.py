"""Walks of odd folders: nothing is entered twice, followed for ever or dropped without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from efficientformer.data.walk import Walk, find_images
from efficientformer.errors import DataError


def names(root):
    return [path.relative_to(root).as_posix() for path in find_images(root).files]


def skipped(root):
    return {entry.file: entry.reason for entry in find_images(root).left_out.skipped}


SYSTEM_FOLDERS = ("@eaDir", "@EADIR", "#recycle", "$RECYCLE.BIN", "System Volume Information", ".thumbnails")


@pytest.mark.parametrize("folder", [*SYSTEM_FOLDERS, "lost+found", "__MACOSX", "@Recycle"])
@pytest.mark.parametrize("place", [".", "deep/er"])
def test_system_folders_are_ignored_and_said_once(tmp_path, write_images, folder, place):
    write_images(tmp_path / place, "a.png")
    write_images(tmp_path / place / folder, "thumb.png")
    write_images(tmp_path / "other" / folder, "thumb.png")
    write_images(tmp_path, "._a.jpg")
    (tmp_path / "Thumbs.db").touch()
    found = find_images(tmp_path)
    assert [path.name for path in found.files] == ["a.png"]
    (note,) = found.left_out.notes()
    assert f"{folder}/ (2)" in note and "hidden pictures" in note


def test_files_that_are_no_pictures_are_counted(tmp_path, write_images):
    write_images(tmp_path, "a.png")
    for name in ("labels.csv", "a.npy", "b.npy", "README"):
        (tmp_path / name).touch()
    (note,) = find_images(tmp_path).left_out.notes()
    assert ".npy (2)" in note and ".csv" in note and "without extension" in note


def test_links_are_followed_and_no_folder_is_entered_twice(tmp_path, write_images):
    write_images(tmp_path / "outside" / "in", "a.png")
    write_images(tmp_path / "root" / "real", "b.png")
    for link, target in {"z": "outside", "y": "outside", "back": "root", "a_twin": "root/real", "above": "."}.items():
        (tmp_path / "root" / link).symlink_to(tmp_path / target)
    assert names(tmp_path / "root") == ["real/b.png", "y/in/a.png"]
    assert skipped(tmp_path / "root").keys() == {"z", "back", "above", "a_twin"}


def test_a_link_to_the_whole_set_does_not_make_its_images_a_class(tmp_path, write_images):
    write_images(tmp_path / "cat", "a.png")
    write_images(tmp_path / "dog", "b.png")
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "all").symlink_to(tmp_path)
    for folder, expected in (("cat", ["a.png"]), ("all", [])):
        assert [Path(path).name for path in Walk(tmp_path).pictures(tmp_path / folder)] == expected


def test_links_to_themselves_and_to_nothing_are_named(tmp_path, write_images):
    write_images(tmp_path, "a.png")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    reasons = skipped(tmp_path)
    assert names(tmp_path) == ["a.png"] and reasons.keys() == {"loop", "loop.png", "gone"}
    assert "itself" in reasons["loop"] and "does not exist" in reasons["gone"]


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="no /proc here")
def test_the_state_of_the_system_is_not_walked(tmp_path, write_images):
    write_images(tmp_path, "a.png")
    (tmp_path / "system").symlink_to("/proc")
    assert names(tmp_path) == ["a.png"] and "operating system" in skipped(tmp_path)["system"]
    with pytest.raises(DataError, match="operating system"):
        find_images(tmp_path / "system")


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_what_is_no_regular_file_is_named(tmp_path, write_images):
    write_images(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert names(tmp_path) == ["a.png"] and skipped(tmp_path) == {"pipe.png": "not a regular file"}


@pytest.mark.skipif(sys.platform == "win32", reason="paths are short there")
def test_folders_deeper_than_a_path_can_be(tmp_path, write_images, monkeypatch):
    root = tmp_path / "root"
    write_images(root, "a.png")
    monkeypatch.chdir(root)
    for name in [*"d" * 1000, *["long" * 60] * 20]:
        Path(name).mkdir()
        os.chdir(name)
    os.chdir(tmp_path)
    found = find_images(root)
    assert found.files == [root / "a.png"]
    (entry,) = found.left_out.skipped
    assert "too long" in entry.reason
    subprocess.run(["rm", "-rf", root], check=True)  # what removes temporary folders does not go that deep


def test_a_folder_that_is_where_one_stands(tmp_path, write_images, monkeypatch):
    write_images(tmp_path / "deep", "a.png")
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in find_images(Path()).files] == ["deep/a.png"]


def test_images_are_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b.JPG", "a/c.png", ".hidden/d.png", "note.txt", "a/.e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a/c.png", "b.JPG"]
