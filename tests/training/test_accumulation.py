"""Steps of several batches: as one large batch, resumed to the bit, taken whole or not at all."""

import json
import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import nn

from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import build_mixing
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.task import Task
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe

from .batches import batches_from
from .kills import Killed, killing_after
from .test_loop import make_model
from .test_not_finite import Spoil, flat, saved

RECIPE = Recipe(num_steps=6, steps_per_epoch=3, peak_lr=0.01, seed=3, ema_decay=0.6, lr_warmup_steps=2, accumulate=3)


class Plain(Task):
    def loss(self, model, batch, progress):
        return nn.functional.cross_entropy(model(batch.images), batch.labels)


def large_batches(step):
    """Three batches at a time, as one."""
    small = batches_from(3 * step)
    while True:
        images, labels = zip(*islice(small, 3), strict=True)
        yield Batch(torch.cat(images), torch.cat(labels))


def small_batches(step):
    return batches_from(3 * step)


def train(folder, task, recipe=RECIPE, *, batches=small_batches, model=make_model, kill_at=(), **hooks):
    on_step = killing_after(kill_at)
    while True:
        checkpoint = CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0)
        log = MetricsLog(folder / "metrics.jsonl")
        try:
            hooks = {"on_step": on_step, **hooks}
            network = fit(model(), task, batches, recipe, checkpoint=checkpoint, log=log, **hooks)
        except Killed:
            continue
        return network.state_dict(), (folder / "metrics.jsonl").read_text()


def without_norms():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


@pytest.mark.parametrize("agc", [0.0, 0.05])
def test_batches_of_a_step_count_as_one_large_batch(tmp_path, agc):
    recipe = replace(RECIPE, agc=agc, clip_norm=math.inf)
    small, log = train(tmp_path / "small", Plain(), recipe, model=without_norms)
    one = replace(recipe, accumulate=1)
    large, large_log = train(tmp_path / "large", Plain(), one, batches=large_batches, model=without_norms)
    assert all(torch.allclose(tensor, large[name], atol=1e-6) for name, tensor in small.items())
    # AdamW divides by the size of gradients, but its moments show it.
    moments, large_moments = (flat(saved(tmp_path / name)["optimizer"]) for name in ("small", "large"))
    assert len(moments) > 8 and all(torch.allclose(moments[path], large_moments[path], atol=1e-6) for path in moments)
    losses, large_losses = ([json.loads(line) for line in text.splitlines()] for text in (log, large_log))
    assert [line["step"] for line in losses] == [line["step"] for line in large_losses] == [1, 2, 3, 4, 5, 6]
    assert [line["loss"] for line in losses] == pytest.approx([line["loss"] for line in large_losses])
    other, _ = train(tmp_path / "other", Plain(), one, model=without_norms)
    assert not torch.allclose(small["3.weight"], other["3.weight"], atol=1e-4), "nor the first batch alone"


def test_batch_norm_sees_each_batch_by_itself(tmp_path):
    seen = []

    class Noting(Plain):
        def loss(self, model, batch, progress):
            seen.append((len(batch.labels), model[0][1].num_batches_tracked.item()))
            return super().loss(model, batch, progress)

    train(tmp_path, Noting(), replace(RECIPE, num_steps=2))
    assert seen == [(6, number) for number in range(6)]


@pytest.mark.parametrize("kill_at", [(1, 4), (2, 3, 5)])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, kill_at):
    """With everything that draws or remembers: mixup and CutMix, adaptive clipping, dropout, a moving average."""
    recipe = replace(RECIPE, agc=0.02, schedule="poly", first_lr=1e-4)

    def task():
        return ONE_LABEL.task(build_mixing(0.8, 1.0, 4, 0.1))

    whole, log = train(tmp_path / "whole", task(), recipe)
    killed, killed_log = train(tmp_path / "killed", task(), recipe, kill_at=kill_at)
    assert all(torch.equal(tensor, killed[name]) for name, tensor in whole.items()) and log == killed_log


@pytest.mark.parametrize("agc", [0.0, 0.02])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_step_with_one_bad_batch_is_not_taken(tmp_path, part, agc):
    """Its weights, statistics, optimizer and average are those of before, whichever batch was bad."""

    class SpoiledOnce(Plain):
        calls = 0

        def loss(self, model, batch, progress):
            loss = super().loss(model, batch, progress)
            self.calls += 1
            return Spoil.apply(loss, float("nan")) if self.calls == 3 * 2 + part + 1 else loss

    states, said = [], []
    hooks = {"on_step": lambda step, loss: states.append(saved(tmp_path)), "warn": said.append}
    train(tmp_path, SpoiledOnce(), replace(RECIPE, agc=agc), **hooks)
    before, after = (flat({**state, "counters": {}}) for state in states[2:4])
    assert all(torch.equal(tensor, after[path]) for path, tensor in before.items())
    assert saved(tmp_path)["counters"]["skipped_steps"] == 1 and "step 2" in said[0]
    assert saved(tmp_path)["counters"]["step"] == 6 and not torch.equal(
        saved(tmp_path)["model"]["2.weight"], states[3]["model"]["2.weight"]
    )
