"""The loop does what its recipe says: each value is followed through to the weights."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from efficientformer.data.loading.loader import Batch
from efficientformer.models.network import Network
from efficientformer.tasks.task import Task
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe

from ..models.small import SMALL_V2

RECIPE = Recipe(num_steps=4, steps_per_epoch=4, peak_lr=0.01, seed=3, weight_decay=0.0)
BETA1, BETA2 = 0.9, 0.999


class Steep(Task):
    """Cross-entropy, `factor` times."""

    def __init__(self, factor=1.0, lr_scales=None):
        self.factor, self.scales = factor, lr_scales or {}

    def loss(self, model, batch, progress):
        return self.factor * nn.functional.cross_entropy(model(batch.images), batch.labels)

    def lr_scales(self):
        return self.scales


class Scaled(nn.Module):
    """A linear layer whose logits are multiplied by `alpha`."""

    def __init__(self):
        super().__init__()
        self.fc, self.alpha = nn.Linear(48, 4), nn.Parameter(torch.ones(4))

    def forward(self, x_BCHW):
        return self.fc(x_BCHW.flatten(1)) * self.alpha


def batches_from(step, size=4):
    while True:
        generator = torch.Generator().manual_seed(step)
        yield Batch(torch.randn(6, 3, size, size, generator=generator), torch.randint(4, (6,), generator=generator))
        step += 1


def train(folder, model, recipe, task=None, batches=batches_from):
    """The network returned, and after each step the weights and the state of the optimizer."""
    states = []
    path = folder / "checkpoint.pt"

    def on_step(step, loss):
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    checkpoint, log = CheckpointFile(path, "run", interval_s=0.0), MetricsLog(folder / "metrics.jsonl")
    network = fit(model, task or Steep(), batches, recipe, checkpoint=checkpoint, log=log, on_step=on_step)
    return network, states, torch.load(path, weights_only=True)["state"]["optimizer"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Scaled()


def test_the_moving_average_is_returned(model, tmp_path):
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network, states, _ = train(tmp_path, model, replace(RECIPE, ema_decay=0.6))
    average = start
    for step, weights in enumerate(states):
        decay = min(0.6, 1 - max(1, step) ** (-2 / 3))  # timm's warm-up of the decay
        average = {name: decay * tensor + (1 - decay) * weights[name] for name, tensor in average.items()}
    for name, tensor in network.state_dict().items():
        assert torch.allclose(tensor, average[name], atol=1e-6), name
        assert not torch.allclose(tensor, states[-1][name], atol=1e-4), "nor the last weights"


def test_without_a_moving_average_the_network_itself_is_returned(model, tmp_path):
    network, *_ = train(tmp_path, model, RECIPE)
    assert network is model


@pytest.mark.parametrize(("clip_norm", "factor"), [(1.0, 1e4), (0.1, 1e4), (1.0, 1e-3), (float("inf"), 1e4)])
def test_gradients_are_clipped_to_the_norm_of_the_recipe(model, tmp_path, clip_norm, factor):
    """AdamW divides by the size of gradients, but its first moment shows it."""
    x_BCHW, labels_B = next(batches_from(0))
    loss = factor * nn.functional.cross_entropy(model(x_BCHW), labels_B)
    whole = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, list(model.parameters()))])
    recipe = replace(RECIPE, num_steps=1, clip_norm=clip_norm)
    _, _, optimizer = train(tmp_path, model, recipe, Steep(factor))
    first = torch.cat([state["exp_avg"].flatten() for state in optimizer["state"].values()]) / (1 - BETA1)
    assert first.norm().item() == pytest.approx(min(whole.norm().item(), clip_norm), rel=1e-3)


def first_move(states, start, name):
    """How far a tensor moves in the first step: by the learning rate, whatever its gradient."""
    return (states[0][name] - start[name]).abs().max().item()


def test_logits_of_paths_have_a_learning_rate_of_their_own(model, tmp_path):
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _, states, _ = train(tmp_path, model, RECIPE, Steep(lr_scales={"alpha": 5.0}))
    assert first_move(states, start, "fc.weight") == pytest.approx(0.01, rel=1e-2)
    assert first_move(states, start, "alpha") == pytest.approx(0.05, rel=1e-2)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_layers_far_from_the_head_learn_more_slowly_as_the_recipe_says(tmp_path, layer_decay):
    torch.manual_seed(0)
    network = Network(SMALL_V2, num_classes=4, resolution=32)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    recipe = replace(RECIPE, num_steps=1, layer_decay=layer_decay)
    _, states, _ = train(tmp_path, network, recipe, batches=lambda step: batches_from(step, 32))
    names = ["head.weight", "stages.3.blocks.1.layer_scale_2", "stages.0.blocks.0.layer_scale_2", "stem.conv1.weight"]
    moves = [first_move(states, start, name) for name in names]
    assert moves[0] == pytest.approx(0.01, rel=0.05)
    if layer_decay == 1:
        assert moves == pytest.approx([0.01] * 4, rel=0.2)
    else:
        assert all(2 * later <= 1.05 * earlier for earlier, later in pairwise(moves))


def test_the_schedule_of_the_recipe_is_the_learning_rate_of_each_step(model, tmp_path):
    recipe = replace(RECIPE, lr_hold_steps=1, lr_warmup_steps=2)
    rates = []

    class Noting(Steep):
        def prepare(self, model, step):
            rates.append(optimizers[0].param_groups[0]["lr"])

    optimizers, made = [], torch.optim.AdamW.__init__

    def note(self, *arguments, **options):
        made(self, *arguments, **options)
        optimizers.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "__init__", note)
        train(tmp_path, model, recipe, Noting())
    assert rates == [recipe.lr(step) for step in range(4)]
    assert rates[0] == recipe.peak_lr and rates[1] == recipe.peak_lr / 2


def test_weights_are_decayed_as_the_recipe_says(model, tmp_path):
    """By lr * weight_decay of the weight in each step, apart from the gradient."""
    start = model.fc.weight.detach().clone()
    moved = []
    for weight_decay in (0.0, 2.0):
        torch.manual_seed(0)
        _, states, _ = train(
            tmp_path / str(weight_decay), Scaled(), replace(RECIPE, num_steps=1, weight_decay=weight_decay)
        )
        moved.append(states[0])
    assert torch.allclose(moved[0]["fc.weight"] - moved[1]["fc.weight"], 0.01 * 2.0 * start, atol=1e-6)
    assert torch.equal(moved[0]["alpha"], moved[1]["alpha"]) and torch.equal(moved[0]["fc.bias"], moved[1]["fc.bias"])
