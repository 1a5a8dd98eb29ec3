"""Classes of unequal size: weights of the loss, and epochs that draw all classes alike."""

from collections import Counter

import pytest
import torch
from torch.nn.functional import cross_entropy

from efficientformer.data.loading.loader import View, train_batches
from efficientformer.data.mixing import build_mixing, class_weights


class Draws:
    """A transform that notes the image and a random number that its augmentation would draw."""

    def __call__(self, image):
        red, green, blue = image.getpixel((0, 0))
        return torch.cat([torch.tensor([float(red * 65536 + green * 256 + blue)]), torch.rand(1)])


def draws(split, steps, start_step=0, **options):
    batches = train_batches(
        split, View(Draws()), batch_size=4, seed=3, start_step=start_step, is_balanced=True, **options
    )
    return [next(batches) for _ in range(steps)]


def test_weights_are_inverse_to_the_frequency_and_have_mean_1_over_images():
    assert class_weights([6, 2]) == [8 / 2 / 6, 8 / 2 / 2]
    counts = [1, 5, 40, 3]
    weights = class_weights(counts)
    assert sum(weight * count for weight, count in zip(weights, counts, strict=True)) == pytest.approx(sum(counts))
    assert len({round(weight * count, 9) for weight, count in zip(weights, counts, strict=True)}) == 1
    assert class_weights([5, 5, 5]) == [1, 1, 1] and class_weights([4, 0]) == [1, 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_an_image_is_multiplied_by_the_weight_of_its_class(smoothing):
    x, y, logits = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 1]), torch.randn(4, 3)
    _, plain_BK = build_mixing(0, 0, 3, smoothing)(x, y)
    _, weighted_BK = build_mixing(0, 0, 3, smoothing, [0.5, 2.0, 4.0])(x, y)
    each = cross_entropy(logits, plain_BK, reduction="none")
    by_hand = (0.5 * each[0] + 2 * each[1] + 4 * each[2] + 2 * each[3]) / 4
    assert torch.allclose(cross_entropy(logits, weighted_BK), by_hand)
    assert torch.equal(weighted_BK.argmax(1), y), "a frequent class is still what its images are"


def test_a_mixed_image_has_the_mean_of_both_weights():
    weights = torch.tensor([0.5, 2.0, 4.0])
    x, y = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 1, 0, 2])
    torch.manual_seed(1)
    mixed, plain_BK = build_mixing(0.8, 0.0, 3, 0.0)(x, y)
    torch.manual_seed(1)
    same, weighted_BK = build_mixing(0.8, 0.0, 3, 0.0, weights.tolist())(x, y)
    assert torch.equal(mixed, same) and torch.allclose(weighted_BK.sum(1), plain_BK @ weights)


def test_an_epoch_has_equally_many_images_of_every_class(make_split):
    split = make_split([1, 4, 7, 24])
    epoch = [label for _, labels in draws(split, 9) for label in labels.tolist()]
    assert Counter(epoch) == {0: 9, 1: 9, 2: 9, 3: 9}
    other = [label for _, labels in draws(split, 9, start_step=9) for label in labels.tolist()]
    assert Counter(other) == Counter(epoch) and other != epoch


def test_the_images_of_a_class_are_drawn_alike(make_split):
    split = make_split([3, 2, 25])
    labels, images = zip(*((y, x[:, 0]) for x, y in draws(split, 7)), strict=True)
    counts = [Counter(torch.cat(images)[torch.cat(labels) == label].tolist()) for label in range(3)]
    assert max(counts[0].values()) - min(counts[0].values()) <= 1 and max(counts[2].values()) == 1
    batches = [batch for start in range(0, 70, 7) for batch in draws(split, 7, start)]
    all_images = {image for x, y in batches for image in x[y == 2, 0].tolist()}
    assert len(all_images) > 20, "over epochs all images of a large class are seen"


def test_an_image_that_is_drawn_again_is_augmented_anew(make_split):
    numbers = [number for x, y in draws(make_split([1, 15]), 4) for number in x[y == 0, 1].tolist()]
    assert len(numbers) == 8 == len(set(numbers))


def test_a_resumed_stream_is_the_same_and_so_are_the_parts_of_processes(make_split):
    split = make_split([2, 5, 13])
    whole = draws(split, 12)
    for start in (3, 5, 7):
        for (x, y), (xs, ys) in zip(whole[start:], draws(split, 12 - start, start), strict=True):
            assert torch.equal(x, xs) and torch.equal(y, ys)
    parts = [draws(split, 12, part_of=lambda batch, rank=rank: batch[rank::2]) for rank in (0, 1)]
    for (x, _), (first, _), (second, _) in zip(whole, *parts, strict=True):
        assert torch.equal(x[0::2], first) and torch.equal(x[1::2], second)


def test_classes_without_images_are_left_out(make_split):
    split = make_split([3, 9]).subset([*range(3, 12)])
    assert {label for _, labels in draws(split, 4) for label in labels.tolist()} == {1}
