import random

import numpy as np
import pytest
import torch

from efficientformer.data.mixing import build_mixing
from efficientformer.errors import UsageError


def batch_of_flat_images(num_images=8, side=16):
    """Image i is flat, of value i, and of class i: mean pixel and expected label must stay equal under mixing."""
    y_B = torch.arange(num_images)
    return y_B.float().reshape(-1, 1, 1, 1).expand(num_images, 3, side, side).clone(), y_B


@pytest.mark.parametrize("mixup, cutmix", [(0.8, 0), (0, 1.0), (0.8, 1.0)])
def test_labels_are_mixed_as_the_pixels_are(mixup, cutmix):
    x_BCHW, y_B = batch_of_flat_images()
    mixing = build_mixing(mixup, cutmix, num_classes=8, label_smoothing=0)
    shares = set()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed_BCHW, targets_BK = mixing(x_BCHW, y_B)
        assert torch.allclose(targets_BK.sum(1), torch.ones(8))
        assert torch.allclose(mixed_BCHW.mean((1, 2, 3)), targets_BK @ torch.arange(8.0), atol=1e-4)
        shares.add(round(float(targets_BK[3, 3]), 4))
    assert len(shares) > 5


def test_both_kinds_occur():
    x_BCHW, y_B = batch_of_flat_images()
    mixing = build_mixing(0.8, 1.0, num_classes=8, label_smoothing=0)
    kinds = set()
    for seed in range(30):
        torch.manual_seed(seed)
        mixed_BCHW, _ = mixing(x_BCHW, y_B)
        kinds.add("cutmix" if len(mixed_BCHW[3].unique()) == 2 else "mixup")
    assert kinds == {"cutmix", "mixup"}


def test_only_the_torch_generator_is_drawn_from():
    x_BCHW, y_B = batch_of_flat_images()
    mixing = build_mixing(0.8, 1.0, num_classes=8, label_smoothing=0.1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(mixing(x_BCHW, y_B))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_the_batch_that_came_in_is_not_written_to():
    x_BCHW, y_B = batch_of_flat_images()
    kept = x_BCHW.clone()
    for seed in range(5):
        torch.manual_seed(seed)
        build_mixing(1.0, 1.0, 8, 0.1)(x_BCHW, y_B)
    assert torch.equal(x_BCHW, kept)


def test_without_mixing_only_the_labels_are_smoothed():
    x_BCHW, y_B = batch_of_flat_images()
    state = torch.get_rng_state()
    same_BCHW, targets_BK = build_mixing(0, 0, num_classes=8, label_smoothing=0.2)(x_BCHW, y_B)
    assert torch.equal(same_BCHW, x_BCHW) and torch.equal(torch.get_rng_state(), state)
    assert targets_BK[3].tolist() == pytest.approx([0.025] * 3 + [0.825] + [0.025] * 4)


def test_a_batch_of_one_passes():
    x_BCHW, y_B = torch.rand(1, 3, 8, 8), torch.tensor([2])
    _, targets_BK = build_mixing(0.8, 1.0, 4, 0)(x_BCHW, y_B)
    assert targets_BK.tolist() == [[0, 0, 1, 0]]


@pytest.mark.parametrize("values", [(-1, 0, 10, 0), (0, -1, 10, 0), (0, 0, 10, 1), (0, 0, 10, -0.1)])
def test_impossible_settings(values):
    with pytest.raises(UsageError):
        build_mixing(*values)
