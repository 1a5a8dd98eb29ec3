"""Images of a large folder that turn out to be broken: named, replaced in training, left out of scores."""

import itertools
import pickle
from collections import Counter

import pytest
import torch
from PIL import Image

from efficientformer.data.dataset import UnreadableImageError
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.large import load, source
from efficientformer.data.loading.loader import View, eval_batches, train_batches
from efficientformer.data.transforms import Preprocessing, train_transform
from efficientformer.errors import DataError

GREY = View(lambda image: torch.tensor([image.convert("L").tobytes()[0]]))


@pytest.fixture
def greys(tmp_path, monkeypatch):
    """greys("train/a/2.png", ...): the set and the list of images that it names. Classes a and b have five images each,
    of grey 0, 10, ... 40 and 100, 110, ... 140, for training and the same for validation; those given are broken."""
    monkeypatch.setattr(load, "LARGE", 5)

    def make(*broken):
        for first, name in ((0, "train/a"), (100, "train/b"), (0, "val/a"), (100, "val/b")):
            (tmp_path / "greys" / name).mkdir(parents=True)
            for index in range(5):
                Image.new("RGB", (8, 8), (first + 10 * index,) * 3).save(tmp_path / "greys" / name / f"{index}.png")
        for name in broken:
            path = tmp_path / "greys" / name
            path.write_bytes(path.read_bytes()[:40])
        named = []
        return load_image_folder(tmp_path / "greys", on_unreadable=lambda skipped: named.append(skipped.file)), named

    return make


def epoch(split, view=GREY, start_step=0, workers=0):
    batches = train_batches(split, view, batch_size=5, seed=3, start_step=start_step, workers=workers)
    made = list(itertools.islice(batches, 2 - start_step))
    batches.close()
    return made


def values(batches):
    return Counter(int(value) for batch in batches for value in batch.images)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_of_its_class_takes_the_place_else_the_one_before(greys, workers):
    dataset, named = greys("train/a/2.png", "train/a/4.png", "train/b/0.png", "train/b/1.png")
    batches = epoch(dataset.train, workers=workers)
    assert values(batches) == Counter({0: 1, 10: 1, 30: 3, 120: 3, 130: 1, 140: 1})
    assert all(int(label) == (value >= 100) for batch in batches for value, label in zip(*batch, strict=True))
    assert sorted(named) == ["train/a/2.png", "train/a/4.png", "train/b/0.png", "train/b/1.png"]
    epoch(dataset.train, workers=workers)
    assert len(named) == 4


def test_a_resumed_training_sees_the_same(greys):
    dataset, _ = greys("train/a/1.png", "train/b/4.png")
    view = View(train_transform(Preprocessing(8, crop_ratio=1.0), "light"))
    whole, resumed = epoch(dataset.train, view), epoch(dataset.train, view, start_step=1)
    assert torch.equal(whole[1].images, resumed[0].images) and torch.equal(whole[1].labels, resumed[0].labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_scores_leave_it_out(greys, workers):
    dataset, named = greys("val/a/0.png", "val/a/1.png", "val/b/2.png")
    batches = list(eval_batches(dataset.val, GREY, batch_size=2, workers=workers))
    assert [batch.images.flatten().tolist() for batch in batches] == [[20, 30], [40, 100], [110], [130, 140]]
    assert named == ["val/a/0.png", "val/a/1.png", "val/b/2.png"]


def test_it_can_be_sent_to_a_worker_that_is_no_copy_of_this_process(greys):
    dataset, named = greys("train/a/1.png")
    sent = pickle.loads(pickle.dumps(dataset.train))
    assert sent.image(0).tobytes() == dataset.train.image(0).tobytes() and sent.name(3) == dataset.train.name(3)
    with pytest.raises(UnreadableImageError, match=r"train/a/1\.png cannot be decoded"):
        sent.image(1)
    assert not named


def test_a_class_without_a_usable_image_is_refused(greys):
    dataset, _ = greys(*(f"train/a/{index}.png" for index in range(5)))
    with pytest.raises(DataError, match=r"No image near train/a/\d.png in its class can be decoded"):
        epoch(dataset.train)


def test_a_failing_disk_is_no_broken_image(greys, monkeypatch):
    def fail(*_, **__):
        raise DataError("Input/output error") from OSError(5, "Input/output error")

    dataset, named = greys()
    monkeypatch.setattr(source, "read_image", fail)
    with pytest.raises(DataError, match="cannot be read: Input/output error"):
        epoch(dataset.train)
    assert not named
