import itertools
import multiprocessing
import pickle
import random
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.loading.loader import View, eval_batches, steps_per_epoch, train_batches
from efficientformer.data.loading.order import mix
from efficientformer.data.transforms import Preprocessing, eval_transform, train_transform
from efficientformer.errors import DataError, UsageError

PREPROCESSING = Preprocessing(8, crop_ratio=1.0)
LIGHT = View(train_transform(PREPROCESSING, "light"))
EVAL = View(eval_transform(PREPROCESSING))


def take(batches, count):
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for batch in zip(one, other, strict=True) for a, b in zip(*batch, strict=True)
    )


def global_states():
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), name, keys.tolist(), rest


@pytest.mark.parametrize("augmentation", ["light", "standard", "strong"])
def test_a_step_depends_on_seed_and_number_alone(make_split, augmentation):
    split, view = make_split([9, 9]), View(train_transform(PREPROCESSING, augmentation))
    whole = take(train_batches(split, view, batch_size=4, seed=7), 11)
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    for start in (1, 4, 6):
        resumed = take(train_batches(split, view, batch_size=4, seed=7, start_step=start), 11 - start)
        assert same(resumed, whole[start:])
    assert not same(take(train_batches(split, view, batch_size=4, seed=8), 11), whole)


@pytest.mark.parametrize("augmentation", ["light", "strong"])
def test_workers_change_nothing(make_split, augmentation):
    split, view = make_split([9, 9]), View(train_transform(PREPROCESSING, augmentation))
    here = take(train_batches(split, view, batch_size=4, seed=7, start_step=2), 9)
    there = take(train_batches(split, view, batch_size=4, seed=7, start_step=2, workers=2), 9)
    assert same(here, there)
    assert same(
        take(eval_batches(split, EVAL, batch_size=5), 9), take(eval_batches(split, EVAL, batch_size=5, workers=2), 9)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_generators_are_untouched(make_split, workers):
    split, view = make_split([9, 9]), View(train_transform(PREPROCESSING, "strong"))
    before = global_states()
    batches = train_batches(split, view, batch_size=4, seed=0, workers=workers)
    for _ in range(6):
        next(batches)
        assert global_states() == before
    batches.close()
    list(eval_batches(split, view, batch_size=4, workers=workers))
    assert global_states() == before


def test_the_callers_generators_are_untouched_after_an_error(make_split):
    def failing(image):
        torch.rand(())
        raise RuntimeError("no")

    before = global_states()
    with pytest.raises(RuntimeError):
        next(train_batches(make_split([4]), View(failing), batch_size=2, seed=0))
    assert global_states() == before


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(num_images=st.integers(1, 25), batch_size=st.integers(1, 30), seed=st.integers(0, 50))
def test_an_epoch_shows_each_image_at_most_once(make_split, num_images, batch_size, seed):
    split = make_split([1] * num_images, side=1)  # every image its own class, so labels tell them apart
    view = View(eval_transform(Preprocessing(1)))
    steps = steps_per_epoch(split, batch_size)
    batches = take(train_batches(split, view, batch_size=batch_size, seed=seed), 2 * steps)
    for epoch in (batches[:steps], batches[steps:]):
        labels = torch.cat([y_B for _, y_B in epoch]).tolist()
        assert len(set(labels)) == len(labels) == steps * min(batch_size, num_images)
        assert num_images - len(labels) < batch_size
    assert {len(y_B) for _, y_B in batches} == {min(batch_size, num_images)}


def test_the_order_and_the_augmentation_change_with_the_epoch(make_split):
    split = make_split([1] * 20)
    batches = take(train_batches(split, LIGHT, batch_size=20, seed=0), 3)
    orders = [y_B.tolist() for _, y_B in batches]
    assert orders[0] != orders[1] != orders[2] and all(sorted(order) == list(range(20)) for order in orders)
    aligned = [x_BCHW[y_B.argsort()] for x_BCHW, y_B in batches]
    num_equal = sum(torch.equal(a, b) for a, b in zip(aligned[0], aligned[1], strict=True))
    assert num_equal < 10


def test_shapes_and_types(make_split):
    x_BCHW, y_B = next(train_batches(make_split([3, 3]), LIGHT, batch_size=4, seed=0))
    assert x_BCHW.shape == (4, 3, 8, 8) and x_BCHW.dtype == torch.float32
    assert y_B.shape == (4,) and y_B.dtype == torch.int64


def test_evaluation_is_in_order_whole_and_once(make_split):
    split = make_split([3, 4])
    batches = list(eval_batches(split, EVAL, batch_size=3))
    assert [len(y_B) for _, y_B in batches] == [3, 3, 1]
    assert torch.cat([y_B for _, y_B in batches]).tolist() == split.labels
    expected = torch.stack([EVAL.example(split.image(index), 0)[0].normalized() for index in range(7)])
    assert torch.equal(torch.cat([x_BCHW for x_BCHW, _ in batches]), expected)


def test_steps_per_epoch(make_split):
    split = make_split([5, 5])
    assert [steps_per_epoch(split, size) for size in (1, 3, 10, 11)] == [10, 3, 1, 1]


@pytest.mark.parametrize("how", ["close", "drop", "exhaust"])
def test_no_process_survives_its_iterator(make_split, how):
    split = make_split([9, 9])
    batches = train_batches(split, LIGHT, batch_size=4, seed=0, workers=2)
    if how == "exhaust":
        batches = eval_batches(split, EVAL, batch_size=4, workers=2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    match how:
        case "close":
            batches.close()
        case "drop":
            del batches
        case "exhaust":
            list(batches)
    deadline = time.monotonic() + 30
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_disappears_is_one_clear_error(tmp_path, write_images, workers):
    for class_name in ("cat", "dog"):
        write_images(tmp_path / class_name, "0.png", "1.png", "2.png")
    split = load_image_folder(tmp_path, val_fraction=0.3).train
    (tmp_path / split.name(1)).unlink()
    with pytest.raises(DataError, match="disappeared") as caught:
        list(eval_batches(split, EVAL, batch_size=2, workers=workers))
    assert "Traceback" not in str(caught.value) and split.name(1) in str(caught.value)


def test_impossible_requests(make_split):
    with pytest.raises(UsageError, match="batch size"):
        train_batches(make_split([4]), LIGHT, batch_size=0, seed=0)
    with pytest.raises(DataError, match="no images"):
        eval_batches(make_split([4]).subset([]), EVAL, batch_size=2)


def test_seeds_of_neighbors_differ():
    seeds = {mix(seed, epoch, index) for seed in range(12) for epoch in range(12) for index in range(12)}
    assert len(seeds) == 12**3 and all(0 <= seed < 2**63 for seed in seeds)
    assert mix(1, 2) != mix(2, 1)
    assert len({seed & 0xFFFFFFFF for seed in seeds}) == 12**3


def test_splits_can_travel_to_processes_that_are_spawned(tmp_path, write_images, make_split):
    for class_name in ("cat", "dog"):
        write_images(tmp_path / class_name, "0.png", "1.png", "2.png")
    for split in (make_split([2, 2]), load_image_folder(tmp_path, val_fraction=0.3).train):
        copy = pickle.loads(pickle.dumps(split))
        assert same(take(eval_batches(copy, EVAL, batch_size=2), 9), take(eval_batches(split, EVAL, batch_size=2), 9))
