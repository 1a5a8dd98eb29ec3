"""Repeated augmentation: an epoch of fewer images, each several times and always augmented anew."""

from collections import Counter

import pytest
import torch

from efficientformer.data.loading.loader import View, train_batches

from .test_balance import Draws


def draws(split, steps, start_step=0, batch_size=6, **options):
    """Of each step the images and the numbers that their augmentation drew, both (B,)."""
    stream = train_batches(split, View(Draws()), batch_size=batch_size, seed=3, start_step=start_step, **options)
    return [next(stream)[0].unbind(1) for _ in range(steps)]


def images_of(drawn):
    return [int(image) for images, _ in drawn for image in images]


def test_each_image_of_an_epoch_is_drawn_three_times_at_once(make_split):
    split = make_split([20, 16])
    plain, repeated = draws(split, 6), draws(split, 6, repeated=3)
    steps = [images_of([drawn]) for drawn in repeated]
    assert all(step[:2] == step[2:4] == step[4:] for step in steps)
    assert [image for step in steps for image in step[:2]] == images_of(plain)[:12], "a third of the images, in order"
    assert len({number for _, numbers in repeated for number in numbers.tolist()}) == 36, "and augmented anew each time"


@pytest.mark.parametrize(("batch_size", "processes"), [(12, 1), (16, 1), (20, 2), (32, 2), (12, 3)])
def test_no_image_is_next_to_itself_for_mixup_to_blend(make_split, batch_size, processes):
    for rank in range(processes):
        options = {"repeated": 3, "part_of": lambda batch, rank=rank: batch[rank::processes]}
        for images, _ in draws(make_split([20, 17]), 8, batch_size=batch_size, **options):
            assert (images != images.roll(1)).all()


def test_epochs_are_as_long_as_without_and_have_other_images(make_split):
    split = make_split([20, 17])
    epochs = [images_of(draws(split, 6, start, repeated=3)) for start in range(0, 60, 6)]
    assert all(len(epoch) == 36 for epoch in epochs)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 10
    assert len({image for epoch in epochs for image in epoch}) == 37, "over epochs all images are seen"


@pytest.mark.parametrize("is_balanced", [False, True])
def test_a_resumed_stream_and_the_parts_of_processes_are_the_same(make_split, is_balanced):
    split, options = make_split([3, 5, 22]), {"repeated": 3, "is_balanced": is_balanced}
    whole = draws(split, 12, **options)
    for start in (1, 5, 8):
        for pair, other in zip(whole[start:], draws(split, 12 - start, start, **options), strict=True):
            assert torch.equal(pair[0], other[0]) and torch.equal(pair[1], other[1])
    parts = [draws(split, 12, part_of=lambda batch, rank=rank: batch[rank::3], **options) for rank in range(3)]
    for (_, numbers), *of_processes in zip(whole, *parts, strict=True):
        assert sorted(numbers.tolist()) == sorted(torch.cat([own for _, own in of_processes]).tolist())
        first, *others = (set(images.tolist()) for images, _ in of_processes)
        assert is_balanced or all(other == first for other in others), (
            "three processes get one image each in three ways"
        )


def test_classes_are_balanced_and_no_augmentation_is_used_twice(make_split):
    """Of 30 images one is drawn five times for its class, and each of these draws three times."""
    stream = train_batches(make_split([1, 29]), View(Draws()), batch_size=30, seed=3, is_balanced=True, repeated=3)
    for _ in range(4):
        images, labels = next(stream)
        assert labels.bincount().tolist() == [15, 15]
        assert len(set(images[:, 1].tolist())) == 30
        assert sorted(Counter(images[:, 0].tolist()).values()) == [3] * 5 + [15]
