"""Views: what batches are made of, where a label is a class and where it lies in the image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.dataset import UNLABELLED, ImageSplit, holdout
from efficientformer.data.loading.loader import View, eval_batches, train_batches, with_unlabelled
from efficientformer.data.loading.memory import MemorySource, hold_in_memory
from efficientformer.data.transforms import Preprocessing, eval_transform, train_transform

PIXELS = Preprocessing(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), crop_ratio=1.0)


@dataclass(frozen=True)
class Corner:
    """A dense label: the value of the pixel at the left, and the size of the image."""

    red: int
    width: int = 8
    height: int = 8

    @property
    def classes(self) -> tuple[int, ...]:
        return (self.red % 2, 2)

    def held(self, width: int, height: int) -> "Corner":
        return replace(self, width=width, height=height)


class MirroredTogether(View):
    def example(self, image, label):
        is_mirrored = bool(torch.rand(()) < 0.5)
        if is_mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self._transform(image), torch.tensor([-1 if label == UNLABELLED else label.red, is_mirrored])

    def labels(self, labels: Sequence[torch.Tensor], num_classes: int) -> torch.Tensor:
        return torch.cat([torch.stack(labels), torch.full((len(labels), 1), num_classes)], dim=1)


@pytest.fixture
def split():
    pixels = [np.full((8, 8, 3), 10 * index, np.uint8) for index in range(8)]
    for image in pixels:
        image[:, 4:] += 100
    source = MemorySource([f"image{index}" for index in range(8)], pixels)
    return ImageSplit(source, ("even", "odd", "all"), [Corner(10 * index) for index in range(8)], list(range(8)))


def test_batches_of_classes_are_those_from_before_there_were_views(make_split):
    rng = np.random.default_rng(8)
    split = make_split([3, 5])
    assert np.array_equal(split.source.pixels[0], rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    batches = train_batches(split, View(train_transform(PIXELS, "light")), batch_size=4, seed=7)
    seen = []
    for _ in range(3):
        x_BCHW, y_B = next(batches)
        sums_B = (x_BCHW * 255).round().long().flatten(1) @ torch.arange(192)
        seen.append((y_B.tolist(), sums_B.tolist()))
    assert seen == [
        ([1, 1, 1, 0], [2263765, 2234786, 2492476, 1998384]),
        ([0, 1, 1, 0], [2361553, 2438480, 2377160, 2224725]),
        ([1, 0, 0, 1], [2393189, 2493049, 2165987, 2492476]),
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_label_in_the_image_is_transformed_with_it(split, workers):
    view = MirroredTogether(eval_transform(PIXELS))
    mirrored = 0
    batches = train_batches(split, view, batch_size=4, seed=3, workers=workers)
    for _ in range(4):
        x_BCHW, labels_B3 = next(batches)
        left_B = (255 * x_BCHW[:, 0, 0, 0]).round()
        assert left_B.tolist() == [red + 100 * is_mirrored for red, is_mirrored, _ in labels_B3.tolist()]
        assert labels_B3[:, 2].tolist() == [3] * 4
        mirrored += int(labels_B3[:, 1].sum())
    batches.close()
    assert 0 < mirrored < 16


def test_images_without_labels_go_through_the_same_view(split):
    view = MirroredTogether(eval_transform(PIXELS))
    without = ImageSplit(split.source, (), [UNLABELLED] * 8, list(range(8)))
    both = with_unlabelled(*(train_batches(each, view, batch_size=2, seed=3) for each in (split, without)))
    x_BCHW, labels_B3 = next(both)
    assert len(x_BCHW) == 4 and (labels_B3[2:] == UNLABELLED).all() and (labels_B3[:2, 0] >= 0).all()


def test_labels_in_images_are_held_in_memory_at_their_size(split):
    held = hold_in_memory(split, 4)
    assert [(label.red, label.width, label.height) for label in held.labels] == [(10 * i, 4, 4) for i in range(8)]
    assert next(eval_batches(held, MirroredTogether(eval_transform(PIXELS)), batch_size=8))[1].shape == (8, 3)


def test_dense_labels_are_counted_and_held_out_by_the_classes_in_them(split):
    split = replace(split, labels=[*split.labels[:7], Corner(71)])
    assert split.num_images_per_class() == [7, 1, 8] and not split.has_one_class_each
    rest, held = holdout(split, 0.25, seed=0)
    assert (len(rest), len(held)) == (6, 2) and rest.num_images_per_class() == [5, 1, 6], "the last image of one stays"
