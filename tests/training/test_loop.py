import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import TrainingError
from efficientformer.models.network import Network
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.frozen_backbone import FrozenBackbone
from efficientformer.tasks.task import Task
from efficientformer.training import checkpoint as checkpoint_module
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.optimizer import build_optimizer
from efficientformer.training.recipe import Recipe
from efficientformer.training.schedule import scheduled_lr

from ..models.small import SMALL_V2
from .batches import batches_from
from .kills import Killed, killing_after

RECIPE = Recipe(num_steps=24, steps_per_epoch=8, peak_lr=0.01, seed=3, lr_warmup_steps=4, ema_decay=0.9)


class Noisy(Task):
    """A task that draws random numbers, as augmentation and Gumbel noise do."""

    def loss(self, model, batch, progress):
        noise = torch.rand(len(batch.labels), 1)
        return nn.functional.cross_entropy(model(batch.images) + noise * progress, batch.labels)


def make_model():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(288, 4))


def train(folder, *, kill_at=(), interval_s=0.0):
    """Train to the end, killed once after each of the given steps."""
    on_step = killing_after(kill_at)
    while True:
        checkpoint = CheckpointFile(folder / "checkpoint.pt", "run", interval_s=interval_s)

        try:
            network = fit(
                make_model(),
                Noisy(),
                batches_from,
                RECIPE,
                checkpoint=checkpoint,
                log=MetricsLog(folder / "metrics.jsonl"),
                on_step=on_step,
                on_epoch=lambda epoch, network: {"val_top1": float(network[2].weight.detach().sum())},
            )
            return network.state_dict(), (folder / "metrics.jsonl").read_text()
        except Killed:
            continue


@pytest.mark.parametrize("kill_at", [(1,), (5, 9, 17), (8, 16, 24), range(2, 24, 3)])
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, kill_at):
    weights, log = train(tmp_path / "whole")
    resumed_weights, resumed_log = train(tmp_path / "killed", kill_at=kill_at)
    assert all(torch.equal(tensor, resumed_weights[name]) for name, tensor in weights.items())
    assert log == resumed_log
    steps = [json.loads(line)["step"] for line in log.splitlines()]
    assert steps == sorted(steps)


def test_steps_that_are_saved_are_not_taken_again(tmp_path):
    """A run that was killed would also end with the same bits if it began anew."""
    steps = []
    on_step = killing_after((5, 9))

    def counted(step, loss):
        steps.append(step)
        on_step(step, loss)

    for _ in range(3):
        checkpoint = CheckpointFile(tmp_path / "checkpoint.pt", "run", interval_s=0.0)
        log = MetricsLog(tmp_path / "metrics.jsonl")
        with contextlib.suppress(Killed):
            fit(make_model(), Noisy(), batches_from, RECIPE, checkpoint=checkpoint, log=log, on_step=counted)
    assert steps == [*range(1, 6), *range(5, 10), *range(9, 25)], "the step that was killed is repeated"


def test_work_since_the_last_checkpoint_is_done_again_not_lost(tmp_path):
    weights, log = train(tmp_path / "whole")
    resumed_weights, resumed_log = train(tmp_path / "killed", kill_at=(11,), interval_s=1e9)
    assert all(torch.equal(tensor, resumed_weights[name]) for name, tensor in weights.items())
    assert log == resumed_log


def test_a_checkpoint_of_another_run_is_not_taken_up(tmp_path):
    file = CheckpointFile(tmp_path / "checkpoint.pt", "one")
    file.save({"step": 5})
    assert file.load() == {"step": 5}
    assert CheckpointFile(tmp_path / "checkpoint.pt", "two").load() is None


def test_a_broken_checkpoint_means_starting_over(tmp_path):
    path = tmp_path / "checkpoint.pt"
    CheckpointFile(path, "one").save({"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:200])
    assert CheckpointFile(path, "one").load() is None
    path.write_bytes(b"not a checkpoint")
    assert CheckpointFile(path, "one").load() is None


def test_a_loss_that_is_no_number_stops_with_a_remedy(tmp_path):
    class Broken(Noisy):
        def loss(self, model, batch, progress):
            return super().loss(model, batch, progress) * (float("nan") if progress > 0.2 else 1)

    with pytest.raises(TrainingError, match=r"nan at step 5 .* Lower the learning rate"):
        fit(
            make_model(),
            Broken(),
            batches_from,
            RECIPE,
            checkpoint=CheckpointFile(tmp_path / "checkpoint.pt", "run", interval_s=0),
            log=MetricsLog(tmp_path / "metrics.jsonl"),
        )
    state = CheckpointFile(tmp_path / "checkpoint.pt", "run").load()
    assert state["counters"]["step"] == 5, "the last good state is kept"


def test_the_schedule_warms_up_and_ends_low():
    rates = [scheduled_lr(step, 100, peak_lr=1.0, warmup_steps=10) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(rates) == 1.0 and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.02


def test_only_weight_matrices_are_decayed():
    model = make_model()
    model.alpha = nn.Parameter(torch.zeros(3))
    groups = build_optimizer(model, lr=0.1, weight_decay=0.05, lr_scales={"alpha": 5.0}).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert groups[2]["params"] == [model.alpha] and groups[2]["lr_scale"] == 5.0


def test_layers_learn_more_slowly_the_further_they_are_from_the_head():
    network = Network(SMALL_V2, num_classes=3, resolution=32)
    groups = build_optimizer(network, lr=0.1, weight_decay=0.05, layer_decay=0.5).param_groups
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert scale.keys() == {id(parameter) for parameter in network.parameters()}
    layers = [network.head, network.stages[3].blocks[1], network.stages[2].blocks[0], network.stem]
    scales = [scale[id(next(layer.parameters()))] for layer in layers]
    assert scales[0] == 1.0 and scales == sorted(set(scales), reverse=True)
    for name, parameter in network.named_parameters():
        plain = parameter.ndim <= 1 or name.endswith("attention_bias") or "layer_scale" in name
        assert decay[id(parameter)] == (0.0 if plain else 0.05), name


def test_frozen_steps_train_the_heads_alone_and_a_resumed_run_ends_alike(tmp_path):
    frozen = replace(RECIPE, num_steps=6, lr_hold_steps=4, ema_decay=0.0, layer_decay=0.7, lr_warmup_steps=0)
    task, rates = FrozenBackbone(Noisy(), 4), [frozen.lr(step) for step in range(6)]
    assert rates[:5] == [RECIPE.peak_lr] * 5 and rates[5] < RECIPE.peak_lr

    def tune(folder, num_steps, kill_at=()):
        on_step = killing_after(kill_at)

        while True:
            torch.manual_seed(0)
            network = Network(SMALL_V2, num_classes=4, resolution=8)
            before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            checkpoint = CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0)
            recipe, log = replace(frozen, num_steps=num_steps), MetricsLog(folder / "metrics.jsonl")
            try:
                fit(network, task, batches_from, recipe, checkpoint=checkpoint, log=log, on_step=on_step)
            except Killed:
                continue
            return before, network.state_dict()

    before, after = tune(tmp_path / "heads", 4)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.weight", "head.bias"}
    _, whole = tune(tmp_path / "whole", 6)
    assert not torch.equal(whole["stem.conv1.weight"], before["stem.conv1.weight"])
    assert not torch.equal(whole["stem.norm1.running_mean"], before["stem.norm1.running_mean"])
    _, resumed = tune(tmp_path / "killed", 6, kill_at=(2, 4, 5))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("sampling", ["soft", "single"])
def test_half_precision_is_of_products_and_not_of_weights(tmp_path, sampling):
    space = v1_space("tiny", (16, 16, 16, 16), (1, 1, 1, 1), 2, stem_strides=(2, 1), mb3d=MB3D(4, 2, 8, 2))
    torch.manual_seed(0)
    supernet = Supernet(space, num_classes=4, resolution=32)
    task = SupernetTask(
        kind=ONE_LABEL,
        temperature=(1.0, 1.0),
        noise="uniform",
        sampling=sampling,
        elastic_width="random",
        label_smoothing=0.1,
    )
    seen = set()
    supernet.head.register_forward_hook(lambda module, inputs, logits: seen.add(logits.dtype))

    def batches(step):
        for small_BCHW, labels_B in batches_from(step):
            yield Batch(nn.functional.interpolate(small_BCHW, size=32), labels_B)

    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    recipe = Recipe(num_steps=6, steps_per_epoch=3, peak_lr=0.01, seed=3, precision="bf16")
    log = MetricsLog(tmp_path / "metrics.jsonl")
    fit(supernet, task, batches, recipe, checkpoint=CheckpointFile(tmp_path / "checkpoint.pt", "run"), log=log)
    assert seen == {torch.bfloat16}
    for name, tensor in supernet.state_dict().items():
        assert tensor.dtype == before[name].dtype and tensor.isfinite().all()
    assert not torch.equal(supernet.head.weight, before["head.weight"])


def test_checkpoints_that_take_long_are_written_seldom(tmp_path, monkeypatch):
    clock, written = [0.0], []

    def save(content, stream):
        clock[0] += 3.0
        written.append(clock[0])

    monkeypatch.setattr(checkpoint_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(checkpoint_module.torch, "save", save)
    checkpoint = CheckpointFile(tmp_path / "checkpoint.pt", "run")
    while clock[0] < 400:
        clock[0] += 1.0
        if checkpoint.is_due():
            checkpoint.save({"step": 1})
    assert written == [23.0, 23.0 + 150 + 3, 23.0 + 2 * 153]
