import copy

import pytest
import timm
import torch
from torch import nn

from efficientformer.analysis.comparison.random_weights import randomize
from efficientformer.models.create import create_model


def test_no_block_is_an_identity_and_values_keep_their_size():
    network = create_model("efficientformer_l1", resolution=64)
    randomize(network, (1, 3, 64, 64))
    scales = [value for name, value in network.named_parameters() if "layer_scale" in name]
    assert scales and all(scale.min() >= 0.2 and scale.max() <= 0.8 and scale.std() > 0 for scale in scales)
    with torch.inference_mode():
        logits = network(torch.randn(2, 3, 64, 64))
    assert not network.training and 0.05 < logits.std() < 50
    assert (logits[0] - logits[1]).abs().max() > 0.01


def test_parameters_that_start_at_zero_do_not_stay_there():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 4))
    with torch.no_grad():
        module[1].weight.zero_()
        module[3].weight.zero_()
    randomize(module, (1, 3, 8, 8))
    assert module[1].weight.min() > 0.05 and module[3].weight.std() > 0.01
    assert module[1].momentum == 0.1
    with torch.inference_mode():
        normed = module[:2](torch.randn(64, 3, 8, 8))
    # The affine part draws scales of 0.1 to 0.4; without statistics of the images this would be 0.08 or less.
    assert 0.15 < normed.std() < 0.4


@pytest.mark.parametrize("name", ["levit_128", "levit_192"])
def test_the_output_is_that_of_double_precision(name):
    """A network whose output depended on rounding could not be compared over runtimes."""
    torch.manual_seed(0)
    network, images = timm.create_model(name), torch.randn(1, 3, 224, 224)
    randomize(network, (1, 3, 224, 224))
    with torch.inference_mode():
        single, double = network(images), copy.deepcopy(network).double()(images.double())
    assert (single - double).abs().max() < 1e-3 * single.std()


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (nn.Sequential(nn.LayerNorm(4), nn.BatchNorm1d(3)) for _ in range(3))
    for module, seed in ((first, 1), (second, 1), (other, 2)):
        randomize(module, (1, 3, 4), seed)
    assert torch.equal(first[0].weight, second[0].weight)
    assert torch.equal(first[1].running_mean, second[1].running_mean)
    assert not torch.equal(first[0].weight, other[0].weight)
