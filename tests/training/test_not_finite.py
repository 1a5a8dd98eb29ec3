"""Gradients, statistics and weights that are not finite: the step is not taken, counted and said."""

import json

import pytest
import torch
from torch import nn

from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import TrainingError
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.task import Task
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.finite import MOST_IN_A_ROW
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe

from .batches import batches_from

RECIPE = Recipe(num_steps=12, steps_per_epoch=6, peak_lr=0.01, seed=3, ema_decay=0.5)


class Spoil(torch.autograd.Function):
    """The identity, whose gradient is `value`."""

    @staticmethod
    def forward(ctx, x, value):
        ctx.value = value
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.full_like(gradient, ctx.value), None


class Spoiled(Task):
    """Cross-entropy with gradients of `value` at some steps; the loss stays finite."""

    def __init__(self, steps, value=float("nan"), num_steps=12):
        self.steps, self.value, self.num_steps = set(steps), value, num_steps

    def loss(self, model, batch, progress):
        logits = model(batch.images)
        if round(progress * self.num_steps) in self.steps:
            logits = Spoil.apply(logits, self.value)
        return nn.functional.cross_entropy(logits, batch.labels)


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def train(folder, task, recipe=RECIPE, *, model=None, batches=batches_from, interval_s=0.0, **hooks):
    model = model or make_model()
    checkpoint = CheckpointFile(folder / "checkpoint.pt", "run", interval_s=interval_s)
    log = MetricsLog(folder / "metrics.jsonl")
    return fit(model, task, batches, recipe, checkpoint=checkpoint, log=log, **hooks), model


def saved(folder):
    return CheckpointFile(folder / "checkpoint.pt", "run").load()


def flat(state):
    """Every tensor of a nested state, by its path."""
    if isinstance(state, torch.Tensor):
        return {"": state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {f"{key}.{path}": tensor for key, value in items for path, tensor in flat(value).items()}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("options", [{}, {"clip_norm": float("inf")}, {"precision": "bf16"}, {"ema_decay": 0.0}])
def test_a_step_without_a_finite_gradient_is_not_taken(tmp_path, value, options):
    """Weights, statistics, average and optimizer are those of the step before, and training goes on from them."""
    recipe, said, states = Recipe(**{**vars(RECIPE), **options}), [], []
    train(
        tmp_path,
        Spoiled([4], value),
        recipe,
        warn=said.append,
        on_step=lambda step, loss: states.append(saved(tmp_path)),
    )
    before, after, end = (flat({**state, "counters": {}}) for state in (states[4], states[5], saved(tmp_path)))
    # A checkpoint is written after `on_step`: the state before step index 4, and the one after it.
    assert before.keys() == after.keys() and len(before) > 10
    assert all(torch.equal(tensor, after[path]) for path, tensor in before.items())
    assert all(tensor.isfinite().all() for tensor in end.values())
    assert not torch.equal(end["model.0.weight."], before["model.0.weight."])
    assert saved(tmp_path)["counters"]["skipped_steps"] == 1
    assert len(said) == 1 and "step 4" in said[0]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("skipped_steps") for line in lines if "loss" in line] == [None] * 4 + [1] * (len(lines) - 4)


def test_a_step_reads_its_device_once(tmp_path, monkeypatch):
    """On a GPU every read waits for all that was computed so far. Reads of numbers are counted, on any device."""
    reads, of_steps = [], []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda *args, _name=name, _plain=plain: reads.append(_name) or _plain(*args)
        )

    def on_step(step, loss):
        of_steps.append(reads.copy())
        reads.clear()

    recipe = Recipe(**{**vars(RECIPE), "num_steps": 4, "steps_per_epoch": 50, "agc": 0.01})
    for one in (RECIPE, recipe):
        checkpoint = CheckpointFile(tmp_path / f"{one.agc}.pt", "run", interval_s=1e9)
        fit(make_model(), Spoiled([]), batches_from, one, checkpoint=checkpoint, log=NoLog(), on_step=on_step)
    assert len(of_steps) == 16 and all(step == ["tolist"] for step in of_steps[1:12] + of_steps[13:])


class NoLog(MetricsLog):
    def __init__(self):
        pass

    def rewind(self, step):
        pass

    def write(self, **entry):
        pass


def test_ten_in_a_row_stop_with_a_remedy_and_the_last_good_state_is_kept(tmp_path):
    recipe = Recipe(**{**vars(RECIPE), "num_steps": 30, "precision": "bf16"})
    task = Spoiled(range(5, 30), num_steps=30)
    with pytest.raises(TrainingError, match=r"10 steps in a row.*learning rate.*precision fp32") as stopped:
        train(tmp_path, task, recipe)
    assert "\n" not in str(stopped.value)
    state = saved(tmp_path)
    assert state["counters"]["step"] < 5 + MOST_IN_A_ROW
    assert all(tensor.isfinite().all() for tensor in flat(state).values())


def test_nine_in_a_row_are_survived_and_the_count_starts_anew(tmp_path):
    recipe = Recipe(**{**vars(RECIPE), "num_steps": 30})
    said = []
    train(tmp_path, Spoiled([*range(2, 11), *range(12, 21)], num_steps=30), recipe, warn=said.append)
    assert saved(tmp_path)["counters"]["skipped_steps"] == 18
    assert len(said) == 2 and "18 of 30 steps" in said[1], "the first, and how many at the end"


@pytest.mark.parametrize("kill_at", [(4,), (3, 5, 8)])
def test_the_counts_survive_an_interruption(tmp_path, kill_at):
    class Killed(BaseException):
        pass

    def attempt(folder, steps, kills=()):
        kills, recipe = set(kills), Recipe(**{**vars(RECIPE), "num_steps": 30})

        def on_step(step, loss):
            if step in kills:
                kills.remove(step)
                raise Killed

        while True:
            try:
                network, _ = train(folder, Spoiled(steps, num_steps=30), recipe, on_step=on_step)
                return network.state_dict(), (folder / "metrics.jsonl").read_text(), saved(folder)["counters"]
            except Killed:
                continue

    weights, log, counters = attempt(tmp_path / "whole", range(3, 9))
    again, log_again, counters_again = attempt(tmp_path / "killed", range(3, 9), kill_at)
    assert counters == counters_again and counters["skipped_steps"] == 6
    assert log == log_again and all(torch.equal(tensor, again[name]) for name, tensor in weights.items())
    with pytest.raises(TrainingError, match="10 steps in a row"):
        attempt(tmp_path / "stopped", range(3, 13), kill_at)


def test_statistics_that_overflow_are_those_of_the_step_before(tmp_path):
    """Batch norm turns an infinite variance into zeros: loss and gradient are finite, the running variance is lost."""

    def batches(step):
        for images, labels in batches_from(step):
            yield Batch(images * (1e25 if step == 4 else 1), labels)
            step += 1

    network, model = train(tmp_path, Spoiled([]), batches=batches)
    assert all(tensor.isfinite().all() for tensor in (*model.buffers(), *network.buffers()))
    assert saved(tmp_path)["counters"]["skipped_steps"] == 1


def test_weights_that_are_not_finite_are_neither_kept_nor_returned(tmp_path):
    """Whatever made them so: here a hook, after a step whose gradient was finite."""
    model = make_model()

    def on_step(step, loss):
        if step == 12:
            with torch.no_grad():
                model[4].bias[0] = float("nan")

    with pytest.raises(TrainingError, match="weights are not finite"):
        train(tmp_path, Spoiled([]), model=model, on_step=on_step)
    assert saved(tmp_path)["counters"]["step"] == 11


def test_the_supernet_skips_such_steps_too(tmp_path):
    space = v1_space("tiny", (16, 16, 16, 16), (1, 1, 1, 1), 2, stem_strides=(2, 1), mb3d=MB3D(4, 2, 8, 2))
    torch.manual_seed(0)
    supernet = Supernet(space, num_classes=4, resolution=32)
    options = {"temperature": (1.0, 1.0), "noise": "uniform", "elastic_width": "random", "label_smoothing": 0.1}
    inner = SupernetTask(kind=ONE_LABEL, sampling="soft", **options)

    class SpoiledSupernet(Task):
        def loss(self, model, batch, progress):
            loss = inner.loss(model, batch, progress)
            return Spoil.apply(loss, float("inf")) if round(progress * 12) in (2, 11) else loss

    def batches(step):
        for images, labels in batches_from(step):
            yield Batch(nn.functional.interpolate(images, size=32), labels)

    train(tmp_path, SpoiledSupernet(), model=supernet, batches=batches)
    assert all(tensor.isfinite().all() for tensor in supernet.state_dict().values())
    assert saved(tmp_path)["counters"]["skipped_steps"] == 2
