"""Curves in other people's programs: the same as in metrics.jsonl, whatever happens."""

import json
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from efficientformer.pipeline.run.fit_images import track
from efficientformer.run_dir import RunDir
from efficientformer.tasks.task import Task
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe
from efficientformer.training.trackers import open as opening
from efficientformer.training.trackers.open import tracker_name, tracker_opener
from efficientformer.training.trackers.tracker import Guarded

from .batches import batches_from
from .kills import Killed, killing_after

RECIPE = Recipe(num_steps=12, steps_per_epoch=4, peak_lr=0.01, seed=3)


class Plain(Task):
    def loss(self, model, batch, progress):
        return nn.functional.cross_entropy(model(batch.images), batch.labels)


def train(folder, open_tracker, *, kill_at=(), said=None, seed=3):
    """Train to the end, killed once after each of the given steps; a checkpoint is written after every third step."""
    on_step = killing_after(kill_at)
    while True:
        checkpoint = CheckpointFile(folder / "checkpoint.pt", f"run {seed}", interval_s=0.0)
        written = iter(range(1000))
        checkpoint.is_due = lambda written=written: next(written) % 3 == 2
        log = MetricsLog(folder / "metrics.jsonl")
        log.tracker = Guarded("Tracker", open_tracker, [].append if said is None else said.append)
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
        options = {"checkpoint": checkpoint, "log": log, "on_step": on_step}
        scores = {"on_epoch": lambda epoch, network: {"val_top1": float(network[1].weight.detach().sum())}}
        try:
            return fit(model, Plain(), batches_from, RECIPE, **options, **scores).state_dict()
        except Killed:
            continue
        finally:
            log.close()


def logged(folder):
    """Steps and values of each curve in metrics.jsonl."""
    curves = defaultdict(list)
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        for name in entry.keys() - {"step"}:
            curves[name].append((entry["step"], pytest.approx(entry[name], rel=1e-6)))
    return curves


def events(folder):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    seen = accumulators.EventAccumulator(str(folder)).Reload()
    return {name: [(event.step, event.value) for event in seen.Scalars(name)] for name in seen.Tags()["scalars"]}


def test_tensorboard_has_each_step_once(tmp_path):
    pytest.importorskip("tensorboard")
    opener = tracker_opener("tensorboard", tmp_path / "events", "net", "run/net")
    train(tmp_path, opener, kill_at=(2, 4, 5, 8, 11))
    assert events(tmp_path / "events" / "net") == logged(tmp_path)
    assert [step for step, _ in logged(tmp_path)["val_top1"]] == [4, 8, 12]
    (tmp_path / "checkpoint.pt").unlink()
    train(tmp_path, opener, seed=4, kill_at=(6,))
    assert events(tmp_path / "events" / "net") == logged(tmp_path), "a new training in the same place"


def test_mlflow_has_each_step_once(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train(tmp_path, tracker_opener("mlflow", tmp_path / "events", "net", "run/net"), kill_at=(5, 11))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'events' / 'mlflow.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "efficientformer"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == "run/net"
    curves = {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert curves == logged(tmp_path)


def fails(when):
    def fail(now):
        if now == when:
            raise RuntimeError(f"no route to host at {now}\nin many lines")

    def opener(step):
        fail("open")
        return SimpleNamespace(write=lambda step, scores: fail("write"), close=lambda: fail("close"))

    return opener


@pytest.mark.parametrize("when", ["open", "write", "close"])
def test_a_tracker_that_fails_is_one_line_and_the_training_goes_on(tmp_path, when):
    said = []
    weights = train(tmp_path / "tracked", fails(when), said=said)
    whole = train(tmp_path / "alone", fails("never"))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights.items())
    assert logged(tmp_path / "tracked") and logged(tmp_path / "tracked").keys() == logged(tmp_path / "alone").keys()
    (line,) = said
    assert line.startswith(f"Tracker is left out (no route to host at {when} in many lines); the training goes on")


def test_a_package_that_is_missing_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientformer.training.trackers.weights_and_biases", None)
    said = []
    train(tmp_path, tracker_opener("wandb", tmp_path / "events", "net", "run/net"), said=said)
    assert len(said) == 1 and 'pip install "efficientformer[wandb]"' in said[0]


def test_tensorboard_is_the_default_where_it_is_installed(monkeypatch):
    for found, name in ((object(), "tensorboard"), (None, "none")):
        monkeypatch.setattr(opening.importlib.util, "find_spec", lambda _, found=found: found)
        assert tracker_name(None) == name and tracker_name("mlflow") == "mlflow" and tracker_name("none") == "none"


def test_the_trainings_of_networks_are_tracked_and_it_is_said_once(tmp_path):
    said = []
    console = SimpleNamespace(warn=said.append, say_once=said.append)
    run_dir = RunDir(tmp_path / "mine")

    def tracked(path, name="tensorboard"):
        log = MetricsLog(path)
        track(SimpleNamespace(run_dir=run_dir, settings=SimpleNamespace(track=name), console=console), log)
        return log.tracker

    followed = [run_dir.network("8ms").metrics, run_dir.supernet_metrics, run_dir.elastic_metrics]
    assert all(map(tracked, followed))
    assert set(said) == {f"curves: tensorboard --logdir {tmp_path / 'mine' / 'events'}"}
    assert not tracked(run_dir.recovery_metrics) and not tracked(run_dir.rank_trained / "a.metrics.jsonl")
    assert not tracked(run_dir.supernet_metrics, "none")
