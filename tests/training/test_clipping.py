"""Adaptive gradient clipping: each unit by the norm of its own weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D
from efficientformer.models.network import Network
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.training.clipping import clip_gradients

from ..models.small import SMALL_V2
from .test_recipe_in_use import BETA1, RECIPE, Scaled, Steep, batches_from, train

AGC = replace(RECIPE, agc=0.01)
SPACE = v1_space("tiny", (16, 16, 16, 16), (1, 1, 1, 1), 2, stem_strides=(2, 1), mb3d=MB3D(4, 2, 8, 2))


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def fill(model, value=10.0):
    """A model whose gradients are all the same."""
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)
    return model


def test_each_unit_is_clipped_to_its_share_by_hand():
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]))
        layer.bias.copy_(torch.tensor([0.6, 0.0, 0.8]))
    layer.weight.grad = torch.tensor([[0.3, 0.4], [0.0, 2.0], [0.03, 0.04]])
    layer.bias.grad = torch.tensor([0.0, 0.02, 0.0])
    norm = clip_gradients(layer, AGC)
    # Weights of norm 5, 0 (counted as 1e-3) and 10 allow 0.05, 1e-5 and 0.1; the bias of norm 1 allows 0.01.
    expected = torch.tensor([[0.03, 0.04], [0.0, 1e-5], [0.03, 0.04]])
    assert torch.allclose(layer.weight.grad, expected, atol=1e-9)
    assert torch.allclose(layer.bias.grad, torch.tensor([0.0, 0.01, 0.0]))
    assert norm.item() == pytest.approx((0.25 + 4 + 0.0025 + 0.0004) ** 0.5), "that of before"


def test_a_unit_of_a_convolution_is_an_output_channel():
    conv = nn.Conv2d(2, 2, 3, bias=False)
    with torch.no_grad():
        conv.weight[0], conv.weight[1] = 1.0, 2.0
    clip_gradients(fill(conv), AGC)
    assert conv.weight.grad[0].norm().item() == pytest.approx(0.01 * 18**0.5)
    assert conv.weight.grad[1].norm().item() == pytest.approx(0.02 * 18**0.5)


@pytest.mark.parametrize("kind", ["network", "two heads", "supernet"])
def test_classifiers_and_path_logits_are_left_as_they_are(kind):
    options = {"num_classes": 4, "resolution": 32}
    if kind == "supernet":
        model = Supernet(SPACE, **options)
    else:
        model = Network(SMALL_V2, has_distillation_head=kind == "two heads", **options)
    clip_gradients(fill(model), AGC, scaled=("alpha",))
    after = gradients(model)
    left = {name for name, gradient in after.items() if (gradient == 10).all()}
    heads = {name for name in after if name.startswith(("head.", "head_dist."))}
    alphas = {name for name in after if name.endswith("alpha")}
    assert left == heads | alphas and len(heads) == (4 if kind == "two heads" else 2)
    assert bool(alphas) == (kind == "supernet")


def test_the_loop_clips_what_the_optimizer_gets(tmp_path):
    """Its first moment shows the gradient; path logits are those with a learning rate of their own."""
    torch.manual_seed(0)
    model, factor = Scaled(), 1e3
    x_BCHW, labels_B = next(batches_from(0))
    (factor * nn.functional.cross_entropy(model(x_BCHW), labels_B)).backward()
    clip_gradients(model, AGC, scaled=("alpha",))
    expected = gradients(model)
    model.zero_grad()
    task = Steep(factor, lr_scales={"alpha": 2.0})
    _, _, optimizer = train(tmp_path, model, replace(AGC, num_steps=1), task)
    moments = [state["exp_avg"] / (1 - BETA1) for state in optimizer["state"].values()]
    for name, gradient in expected.items():
        assert any(torch.allclose(m, gradient, rtol=1e-4) for m in moments if m.shape == gradient.shape), name
    assert expected["alpha"].norm() > 100 > 1 > expected["fc.weight"].norm()
