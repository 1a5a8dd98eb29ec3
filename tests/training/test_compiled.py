"""Compiled training: the same losses, the same names and checkpoints, the same bits after an interruption."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from efficientformer.errors import TrainingError, UsageError
from efficientformer.tasks.task import Task
from efficientformer.training import compiled
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe

from .batches import batches_from
from .kills import Killed, killing_after

RECIPE = Recipe(num_steps=6, steps_per_epoch=3, peak_lr=0.01, seed=3, ema_decay=0.9)


class CrossEntropy(Task):
    def loss(self, model, batch, progress):
        return nn.functional.cross_entropy(model(batch.images), batch.labels)


def train(folder, *, is_compiled, kill_at=(), until=None):
    """Losses by step and the network, killed once after each of the given steps, or for good after step `until`."""
    losses, on_step = {}, killing_after(kill_at)

    def noted(step, loss):
        losses[step] = loss
        on_step(step, loss)
        if step == until:
            raise InterruptedError

    while True:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 4))
        checkpoint = CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0)
        recipe, log = replace(RECIPE, is_compiled=is_compiled), MetricsLog(folder / "metrics.jsonl")
        try:
            trained = fit(network, CrossEntropy(), batches_from, recipe, checkpoint=checkpoint, log=log, on_step=noted)
        except Killed:
            continue
        assert "forward" not in vars(network), "a step leaves the network as it is"
        return losses, trained


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_is_the_same_but_for_rounding_and_an_interruption_changes_no_bit(tmp_path):
    plain, uncompiled = train(tmp_path / "plain", is_compiled=False)
    losses, network = train(tmp_path / "compiled", is_compiled=True)
    assert losses == pytest.approx(plain, abs=1e-4)
    assert network.state_dict().keys() == uncompiled.state_dict().keys()
    _, resumed = train(tmp_path / "killed", is_compiled=True, kill_at=(2, 5))
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(InterruptedError):
        train(tmp_path / "both", is_compiled=False, until=4)
    continued, _ = train(tmp_path / "both", is_compiled=True)
    assert continued == pytest.approx({step: plain[step] for step in (4, 5, 6)}, abs=1e-4)


def test_steps_run_what_is_compiled_and_leave_the_network_as_it_is(tmp_path, monkeypatch):
    """With a compiler that counts."""
    calls, options = [], {}

    def compile_(forward, **given):
        options.update(given)
        return lambda x: calls.append(x.shape) or forward(x)

    monkeypatch.setattr(compiled, "require_compiler", lambda: None)
    monkeypatch.setattr(torch, "compile", compile_)
    plain, _ = train(tmp_path / "plain", is_compiled=False)
    assert not calls
    losses, network = train(tmp_path / "compiled", is_compiled=True)
    assert len(calls) == RECIPE.num_steps and losses == plain and options["options"] == {"fallback_random": True}
    saved = CheckpointFile(tmp_path / "compiled" / "checkpoint.pt", "run").load()
    assert saved["model"].keys() == network.state_dict().keys()


def test_what_cannot_be_compiled_is_one_line(tmp_path, monkeypatch):
    def broken(forward, **_):
        def call(x):
            raise torch._dynamo.exc.Unsupported("no such operator\nand a page more", case_name="none")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: "g++")
    with pytest.raises(TrainingError, match=r"no such operator\)\. Leave out train\.compile\.$"):
        train(tmp_path, is_compiled=True)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setenv("CXX", "their-compiler")
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler, and there is no their-compiler .*leave the setting"):
        train(tmp_path, is_compiled=True)
