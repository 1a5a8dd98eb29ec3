"""Early stopping: the best epoch's weights are kept, and a killed training ends with the same."""

from types import SimpleNamespace

import pytest
import torch

from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog

from .batches import batches_from
from .test_loop import RECIPE, Killed, Noisy, make_model

SCORES = [10.0, 30.0, 30.0, 20.0, 25.0, 29.0, 90.0, 10.0, 10.0, 10.0]
"""Of the epochs, 1 to 10: the second is the best until the seventh."""
LONG = RECIPE.__class__(num_steps=80, steps_per_epoch=8, peak_lr=0.01, seed=3, ema_decay=0.9)


def train(folder, *, patience=0, keeps_weights=True, kill_at=(), interval_s=0.0, best=True):
    """The weights, log, judged epochs by number and best epoch of a training."""
    torch.set_num_threads(1)
    kills, epochs, step_of = set(kill_at), {}, {"now": 0}

    def judge(network):
        epoch = step_of["now"] // 8
        epochs[epoch] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        return SCORES[epoch - 1]

    def on_step(step, loss):
        step_of["now"] = step
        if step in kills:
            kills.remove(step)
            raise Killed

    while True:
        judged = BestEpoch(judge, "held_out_top1", patience, keeps_weights) if best else None
        checkpoint = CheckpointFile(folder / "checkpoint.pt", "run", interval_s=interval_s)
        log = MetricsLog(folder / "metrics.jsonl")
        try:
            options = {"checkpoint": checkpoint, "log": log, "on_step": on_step, "best": judged}
            network = fit(make_model(), Noisy(), batches_from, LONG, **options)
        except Killed:
            continue
        text = (folder / "metrics.jsonl").read_text()
        return SimpleNamespace(weights=network.state_dict(), log=text, epochs=epochs, best=judged)


def same(weights, others):
    return all(torch.equal(tensor, others[name]) for name, tensor in weights.items())


@pytest.mark.parametrize(
    ("patience", "best", "last"), [(0, 7, 10), (3, 2, 5), (4, 2, 6), (5, 7, 10), (1, 2, 3), (2, 2, 4)]
)
def test_the_best_epoch_is_kept_and_patience_ends_the_training(tmp_path, patience, best, last):
    trained = train(tmp_path, patience=patience)
    assert (trained.best.epoch, trained.best.last_epoch) == (best, last)
    assert sorted(trained.epochs) == list(range(1, last + 1))
    assert same(trained.weights, trained.epochs[best])
    assert not same(trained.weights, trained.epochs[last])
    assert trained.log.count("held_out_top1") == last


def test_of_equal_scores_the_first_is_the_best(tmp_path):
    trained = train(tmp_path, patience=3)
    assert trained.best.epoch == 2 and same(trained.weights, trained.epochs[2])
    assert not same(trained.epochs[2], trained.epochs[3])


def test_the_last_weights_may_be_kept(tmp_path):
    trained = train(tmp_path, patience=3, keeps_weights=False)
    assert trained.best.last_epoch == 5 and same(trained.weights, trained.epochs[5])


def test_judging_changes_nothing_of_the_training_and_its_schedule_is_of_all_epochs(tmp_path):
    plain = train(tmp_path / "plain", best=False)
    judged = train(tmp_path / "judged", keeps_weights=False)
    stopped = train(tmp_path / "stopped", patience=3)
    assert same(plain.weights, judged.weights)
    assert all(same(stopped.epochs[epoch], judged.epochs[epoch]) for epoch in stopped.epochs)
    lines = [line for line in judged.log.splitlines() if "held_out" not in line]
    assert lines == plain.log.splitlines()


@pytest.mark.parametrize("kill_at", [(5,), (16,), (17,), (24, 40), range(3, 41, 4), (39, 40)])
@pytest.mark.parametrize("interval_s", [0.0, 1e9])
def test_a_killed_training_ends_with_the_same_epoch(tmp_path, kill_at, interval_s):
    whole = train(tmp_path / "whole", patience=3)
    killed = train(tmp_path / "killed", patience=3, kill_at=kill_at, interval_s=interval_s)
    assert same(whole.weights, killed.weights) and whole.log == killed.log
    assert (killed.best.epoch, killed.best.last_epoch, killed.best.score) == (2, 5, 30.0)


def test_a_finished_training_that_was_not_kept_is_not_trained_on(tmp_path):
    whole = train(tmp_path, patience=3)
    again = train(tmp_path, patience=3)
    assert again.epochs == {} or sorted(again.epochs)[-1] <= 5
    assert same(whole.weights, again.weights) and again.best.last_epoch == 5


def test_other_processes_take_the_first_ones_score():
    calls = []
    best = BestEpoch(calls.append, "score")  # type: ignore[arg-type]
    world = SimpleNamespace(is_first=False, of_first=lambda _: 40.0)
    assert best.see(1, make_model(), world) == {"score": 40.0}  # type: ignore[arg-type]
    assert calls == [] and best.epoch == 1
