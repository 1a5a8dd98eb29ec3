"""Training on shards: every image once an epoch over ranks and workers, the same batches after a resume, and what is
damaged meanwhile ends or goes on as documented."""

import itertools
import pickle
from collections import Counter

import pytest
import torch

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.large import load
from efficientformer.data.large.kept import kept_file
from efficientformer.data.loading.loader import View, eval_batches, train_batches
from efficientformer.data.transforms import Preprocessing, train_transform
from efficientformer.errors import DataError
from efficientformer.training.world import World

GREY = View(lambda image: torch.tensor([image.convert("L").tobytes()[0]]))
LIGHT = View(train_transform(Preprocessing(8, crop_ratio=1.0), "light"))


@pytest.fixture(autouse=True)
def undecoded(monkeypatch):
    monkeypatch.setattr(load, "LARGE", 5)


def steps(dataset, view, first, last, world=World(), workers=0):
    batches = train_batches(
        dataset.train, view, batch_size=4, seed=3, start_step=first, workers=workers, part_of=world.part_of
    )
    made = list(itertools.islice(batches, last - first))
    batches.close()
    return made


def greys(batches):
    return Counter(int(value) for batch in batches for value in batch.images)


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_workers_read_every_image_once_an_epoch(shards, workers):
    """20 images are five batches of four, of which each of two ranks has two."""
    datasets = [load_image_folder(shards) for _ in range(2)]
    for epoch in range(2):
        first = 5 * epoch
        parts = [
            greys(steps(dataset, GREY, first, first + 5, World(rank, 2), workers))
            for rank, dataset in enumerate(datasets)
        ]
        assert parts[0] + parts[1] == Counter([*range(10), *range(100, 110)])
        assert parts[0].total() == parts[1].total() == 10


def test_a_training_resumed_in_the_middle_of_an_epoch_sees_the_same(shards):
    whole = steps(load_image_folder(shards), LIGHT, 0, 8)
    resumed = steps(load_image_folder(shards), LIGHT, 3, 8, workers=2)
    for before, after in zip(whole[3:], resumed, strict=True):
        assert torch.equal(before.images, after.images) and torch.equal(before.labels, after.labels)


def test_an_image_that_cannot_be_decoded_is_named_and_the_next_of_its_class_is_in_its_place(shards):
    path = shards / "train-000000.tar"
    content = bytearray(path.read_bytes())
    place = content.index(b"002.png") + 512
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    named = []
    dataset = load_image_folder(shards, on_unreadable=lambda skipped: named.append(skipped.file))
    assert greys(steps(dataset, GREY, 0, 5)) == Counter([*range(10), *range(100, 110)]) - Counter([2]) + Counter([3])
    assert named == ["train-000000.tar/002.png"]


def test_scores_leave_it_out(shards, write_shard):
    write_shard("val-000000.tar", {"a.png": 30, "a.cls": "0", "b.png": "no", "b.cls": "0", "c.png": 31, "c.cls": "1"})
    batches = list(eval_batches(load_image_folder(shards).val, GREY, batch_size=2))
    assert [batch.images.flatten().tolist() for batch in batches] == [[30], [31]]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_shard_that_changes_or_vanishes_ends_the_command_in_one_line(shards, later, change, workers):
    dataset = load_image_folder(shards)
    kept = kept_file(shards, "listings")
    assert kept.exists()
    path = shards / "train-000001.tar"
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + bytes(512))
    words = "has changed since" if change == "changed" else "cannot be read any more: No such file .* Restore it"
    with pytest.raises(DataError, match=rf"train-000001\.tar {words}.*Run the same command again") as caught:
        steps(dataset, GREY, 0, 5, workers=workers)
    assert "\n" not in str(caught.value) and not kept.exists()


def test_shards_travel_to_processes_that_are_spawned(shards):
    dataset = load_image_folder(shards, on_unreadable=lambda skipped: None)
    copy = pickle.loads(pickle.dumps(dataset.train))
    assert copy.image(3).tobytes() == dataset.train.image(3).tobytes() and copy.name(3) == dataset.train.name(3)
