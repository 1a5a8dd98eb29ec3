"""The images of a run: what is said about them, what their change makes stale, and which are too few."""

import os

import pytest
import torch
from PIL import Image

from efficientformer.data.large import load as large_load
from efficientformer.data.loading.loader import View, eval_batches
from efficientformer.errors import DataError
from efficientformer.pipeline.phases import supernet, table
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.images import load_dataset
from efficientformer.pipeline.run.inputs import image_digests
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import read_lines, read_record


@pytest.fixture
def photos(tmp_path):
    """photos({"cat": 3, "dog": 4}): as many pictures of each class, all of the same size and time."""
    root = tmp_path / "photos"

    def write(num_images):
        for label, (folder, count) in enumerate(num_images.items()):
            (root / folder).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (8, 8), (50 * label, index, 0)).save(root / folder / f"{index}.bmp")
                os.utime(root / folder / f"{index}.bmp", (10**9, 10**9))
        return root

    return write


def opened(root, **settings):
    return open_run(RunRequest(Settings(data=str(root), **settings), root.parent / "run"))


def load(root, capsys, **settings):
    with opened(root, **settings) as workspace:
        assert workspace.dataset
    return " ".join(capsys.readouterr().err.split())


def test_classes_layout_and_what_was_left_out_are_said_and_recorded(photos, capsys):
    root = photos({"Training/a": 3, "Training/b": 3, "Testing/a": 2, "Testing/b": 2, "Training/@eaDir": 1})
    for index in range(5):
        (root / "Training" / "a" / f"{index}.heic").touch()
    text = load(root, capsys)
    assert "classes: a, b" in text and "training images in Training/, validation images in Testing/" in text
    assert "@eaDir/" in text
    assert "skipped Training/a/0.heic, Training/a/1.heic, Training/a/2.heic and 2 more: HEIC" in text
    record = read_record(root.parent / "run" / "data.json", dict)
    assert record["classes"] == ["a", "b"] and "Testing/" in record["layout"] and "@eaDir" in record["notes"][0]
    assert len(record["skipped"]) == 5


def test_of_many_classes_the_first_ten_are_said(photos, capsys):
    text = load(photos({f"c{index:02d}": 3 for index in range(13)}), capsys)
    assert "13 classes" in text and "c00, c01" in text and "c09 and 3 more" in text and "c10" not in text


@pytest.mark.parametrize("gone", [False, True])
def test_images_that_changed_are_other_inputs(photos, gone):
    root = photos({"cat": 4, "dog": 4})

    def inputs():
        with opened(root) as workspace:
            return image_digests(workspace)

    before = inputs()
    assert inputs() == before
    for old, new in (("cat", "other"), ("dog", "cat"), ("other", "dog")):
        (root / old).rename(root / new)
    if gone:
        (root.parent / "run" / "images.json").unlink()
    assert inputs() != before


@pytest.mark.parametrize("verb", [table, supernet])
@pytest.mark.parametrize(
    "num_images, settings, words",
    [
        ({"ant": 2, "bee": 9, "cat": 2}, {}, ["'ant' has 2, 'cat' has 2", "at least 3"]),
        ({"ant": 1, "bee": 9, "cat": 2}, {}, ["'ant' has 1, 'cat' has 2", "at least 3"]),
        ({"ant": 9, "bee": 4}, {"val_fraction": 0.7}, ["'bee' has 4", "at least 6"]),
        ({"train/ant": 1, "train/bee": 9, "val/ant": 5, "val/bee": 5}, {}, ["'ant' has 1", "at least 2"]),
    ],
)
def test_too_few_images_are_said_before_anything_is_measured(photos, monkeypatch, verb, num_images, settings, words):
    monkeypatch.setattr(Workspace, "runtime", property(lambda self: pytest.fail("something is measured")))
    with opened(photos(num_images), **settings) as workspace, pytest.raises(DataError) as caught:
        verb.run(workspace)
    assert all(word in str(caught.value) for word in words)


def test_the_fewest_images_are_enough(photos):
    from efficientformer.pipeline.slimming.held_out import require_enough_images, scoring_splits

    for fraction, fewest in ((0.2, 3), (0.7, 6)):
        root = photos({f"{fraction}/ant": fewest, f"{fraction}/bee": fewest}) / f"{fraction}"
        with opened(root, val_fraction=fraction) as workspace:
            require_enough_images(workspace)
            assert all(count for split in scoring_splits(workspace) for count in split.num_images_per_class())


def test_a_limit_of_pixels_is_a_setting(photos, capsys):
    root = photos({"cat": 4, "dog": 4})
    Image.new("RGB", (100, 100)).save(root / "cat" / "large.png")
    assert "skipped cat/large.png: 100 x 100 pixels" in load(root, capsys, max_pixels=9999)
    assert "skipped" not in load(root, capsys, max_pixels=10_000)


def test_of_several_processes_one_writes_the_records(photos):
    root = photos({"cat": 4, "dog": 4})
    with opened(root) as workspace:
        load_dataset(workspace.run_dir, workspace.settings, workspace.console, is_first=False)
        assert not workspace.run_dir.data.exists() and not workspace.run_dir.checked_images.exists()
        assert workspace.dataset
        assert workspace.run_dir.data.exists() and workspace.run_dir.checked_images.exists()


@pytest.mark.parametrize("is_first", [True, False])
def test_a_broken_image_of_a_large_folder_is_named_and_recorded_once(photos, capsys, monkeypatch, is_first):
    """By every process that trains, since each sees other images."""
    monkeypatch.setattr(large_load, "LARGE", 5)
    root = photos({"cat": 6, "dog": 6})
    (root / "cat" / "0.bmp").write_bytes(b"BM")
    view = View(lambda image: torch.zeros(1))
    for _ in range(2):
        with opened(root) as workspace:
            console = RunConsole(quiet=not is_first)
            dataset = load_dataset(workspace.run_dir, workspace.settings, console, is_first=is_first)
            for split in (dataset.train, dataset.val) * 2:
                assert [*eval_batches(split, view, batch_size=3)]
        text = " ".join(capsys.readouterr().err.split())
        assert text.count("cat/0.bmp cannot be decoded") == 1 and ("12 images are not decoded" in text) == is_first
    (record,) = read_lines(root.parent / "run" / "unreadable.jsonl", dict)
    assert record["file"] == "cat/0.bmp" and record["reason"]
