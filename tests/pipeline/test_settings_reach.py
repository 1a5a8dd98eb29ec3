"""Every setting of a training reaches the recipe, the images, the mixing, the task or the network of that training."""

import copy
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.dataset import UNLABELLED
from efficientformer.data.loader import train_batches
from efficientformer.data.mixing import build_mixing
from efficientformer.data.sample import load_sample
from efficientformer.data.transforms import train_transform
from efficientformer.formats.slimming import SupernetRecord
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.models.weights_file import read_tensors
from efficientformer.pipeline.networks import stand_alone
from efficientformer.pipeline.networks.pretrained import pretrained_network
from efficientformer.pipeline.phases import supernet
from efficientformer.pipeline.run import fit_images
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import merge_given, resolve_settings
from efficientformer.pipeline.run.settings import Settings, leaves
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming import recovery
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.pipeline.slimming.oracles import build_supernet
from efficientformer.pipeline.teacher_settings import TeacherSettings
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.candidates import State
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.slimmable_task import SlimmableTask
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.distillation import Distillation
from efficientformer.tasks.frozen_backbone import FrozenBackbone
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog

from ..models.small import SMALL

BASE = {
    "resolution": 16,
    "train": {"epochs": 4, "batch_size": 50, "frozen_epochs": 0.0},
    "supernet": {"epochs": 4, "batch_size": 50, "sampling": "soft"},
}


class Reached(BaseException):
    """The training loop was called: what it got."""

    def __init__(self, model, task, batches_from, recipe, **hooks):
        super().__init__()
        self.model, self.task, self.batches_from, self.recipe, self.hooks = model, task, batches_from, recipe, hooks


@dataclass
class Training:
    """One training of a run, stopped where the loop would begin."""

    workspace: Workspace
    got: Reached

    @property
    def mixing(self):
        task = self.got.task._task if isinstance(self.got.task, FrozenBackbone) else self.got.task
        return task._mix if hasattr(task, "_mix") else task._mixing

    @property
    def steps(self):
        return self.got.recipe.steps_per_epoch


@pytest.fixture(scope="module")
def images():
    """A tenth of the shipped images: 50 of each class to train with."""
    sample = load_sample()
    indices = [index for label in range(10) for index in np.flatnonzero(np.array(sample.train.labels) == label)[:50]]
    train, val = sample.train.subset(indices), sample.val.subset(range(50))
    return replace(sample, train=train, val=val)


@pytest.fixture
def started(images, monkeypatch, tmp_path):
    """Starts a training with some settings: of the network, of the supernet, a trial or a recovery."""

    def stop(*arguments, **options):
        raise Reached(*arguments, **options)

    monkeypatch.setattr(fit_images, "fit", stop)

    def start(kind: str, given: dict[str, Any], dataset: Any = images) -> Training:
        workspace = Workspace(
            RunDir(tmp_path / "run"), resolve_settings(merge_given(BASE, given)), RunConsole(quiet=True)
        )
        workspace.__dict__["dataset"] = dataset
        checkpoint = CheckpointFile(tmp_path / "checkpoint.pt", "run")
        log, subnet = MetricsLog(tmp_path / "metrics.jsonl"), Subnet.largest(workspace.space)
        monkeypatch.setattr(stand_alone, "load_supernet", lambda run: build_supernet(run))
        with pytest.raises(Reached) as reached:
            if kind == "supernet":
                supernet._train(workspace, "run")
            elif kind == "trial":
                stand_alone.trial_score(workspace, subnet, title="trial")
            elif kind == "recovery":
                scorer: Any = SimpleNamespace(supernet=build_supernet(workspace))
                every = workspace.settings.slim.recover_every
                recovery.Recovery(workspace, scorer, "run").after(every, None, State(subnet, 1.0, 50.0))
            else:
                network = stand_alone.initial_network(workspace, subnet)
                stand_alone.train_images(workspace, network, title="training", checkpoint=checkpoint, log=log)
        return Training(workspace, reached.value)

    return start


@pytest.fixture
def taught(tmp_path):
    """A teacher of the images' classes, and a folder of photographs without labels."""
    (tmp_path / "more").mkdir()
    for index in range(60):
        Image.new("RGB", (20, 20), (index, 0, 0)).save(tmp_path / "more" / f"{index}.png")
    save_weights(Network(SMALL, num_classes=10, resolution=16), tmp_path / "teacher.safetensors")
    return {"teacher": str(tmp_path / "teacher.safetensors"), "unlabelled": str(tmp_path / "more")}


def unlabelled_of(training):
    return int((batch(training)[1] == UNLABELLED).sum())


def batch(training):
    return next(training.got.batches_from(0))


def same_images(training, group, augmentation):
    """Whether the first batch is what this augmentation makes of the images."""
    images = training.workspace.training_images
    if group == "supernet":
        images, _ = search_splits(training.workspace)
    transform = train_transform(training.workspace.preprocessing, augmentation)
    expected = next(train_batches(images, transform, batch_size=50, seed=training.got.recipe.seed))
    return torch.equal(batch(training)[0], expected[0])


def same_mixing(training, mixup, cutmix, smoothing):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(20, 3, 8, 8, generator=generator), torch.randint(10, (20,), generator=generator)
    made = []
    for mixing in (training.mixing, build_mixing(mixup, cutmix, 10, smoothing)):
        torch.manual_seed(4)
        made.append(mixing(x, y))
    return all(torch.equal(mine, theirs) for mine, theirs in zip(*made, strict=True))


def best_of(training):
    best = training.got.hooks["best"]
    return best.patience, best.keeps_weights, best.name


def drop_probabilities(network):
    return [block.drop_path.drop_prob for stage in network.stages for block in stage.blocks]


def scores_at(training, epoch):
    return training.got.hooks["on_epoch"](epoch, training.got.model)


OPTIMIZER = [
    ("epochs", 3, lambda it, _: it.got.recipe.num_steps == 3 * it.steps),
    ("batch_size", 20, lambda it, _: len(batch(it)[1]) == 20),
    ("lr", 0.03, lambda it, _: it.got.recipe.peak_lr == 0.03),
    ("weight_decay", 0.3, lambda it, _: it.got.recipe.weight_decay == 0.3),
    ("lr_warmup_epochs", 2.5, lambda it, _: it.got.recipe.lr_warmup_steps == round(2.5 * it.steps) > 0),
    ("augmentation", "standard", lambda it, group: same_images(it, group, "standard")),
    ("augmentation", "light", lambda it, group: same_images(it, group, "light")),
    ("precision", "bf16", lambda it, _: it.got.recipe.precision == "bf16"),
]
TRAIN = [
    ("label_smoothing", 0.3, lambda it: same_mixing(it, 0.0, 0.0, 0.3)),
    ("mixup", 0.8, lambda it: same_mixing(it, 0.8, 0.0, 0.1)),
    ("cutmix", 0.7, lambda it: same_mixing(it, 0.0, 0.7, 0.1)),
    ("ema_decay", 0.9, lambda it: it.got.recipe.ema_decay == 0.9),
    ("layer_decay", 0.6, lambda it: it.got.recipe.layer_decay == 0.6),
    ("frozen_epochs", 1.5, lambda it: it.got.recipe.lr_hold_steps == it.got.task._num_steps == 1.5 * it.steps),
    ("drop_path_rate", 0.4, lambda it: drop_probabilities(it.got.model)[-1] == 0.4),
    ("evaluate_every", 3, lambda it: [bool(scores_at(it, epoch)) for epoch in (2, 3, 4)] == [False, True, True]),
    ("patience", 3, lambda it: best_of(it) == (3, True, "held_out_top1") and it.steps == 450 // 50),
    ("patience", 0, lambda it: it.got.hooks["best"] is None and it.steps == 500 // 50),
    ("keep", "best", lambda it: best_of(it) == (0, True, "held_out_top1") and it.steps == 450 // 50),
    ("keep", "last", lambda it: it.got.hooks["best"] is None and it.steps == 500 // 50),
    ("init", "supernet", lambda it: it.got.model.stages[0].blocks[0].layer_scale_1[0].item() == pytest.approx(0.1)),
    ("teacher", "NAMED", lambda it: isinstance(it.got.task, Distillation)),
    ("distillation", "hard", lambda it: it.got.task._kind == "hard" and it.got.model.distilled_training),
    ("distillation_weight", 0.7, lambda it: it.got.task._weight == 0.7),
    ("temperature", 4.0, lambda it: it.got.task._temperature == 4.0),
    ("unlabelled", "FOLDER", lambda it: unlabelled_of(it) == 50),
    ("unlabelled_share", 0.2, lambda it: unlabelled_of(it) == 12),
    ("init", "scratch", lambda it: it.got.model.stages[0].blocks[0].layer_scale_1[0].item() < 1e-4),
]


def loss_calls(training):
    """Arguments that the supernet is called with at half of the training."""
    calls = []
    training.got.model.forward_at = lambda *call: calls.append(call) or torch.zeros(2, 10, requires_grad=True)
    training.got.task.loss(training.got.model, torch.zeros(2, 3, 16, 16), torch.tensor([0, 1]), 0.5)
    return calls


SUPERNET = [
    ("label_smoothing", 0.3, lambda it: it.got.task._label_smoothing == 0.3),
    ("alpha_lr", 0.5, lambda it: it.got.task.lr_scales()["alpha"] * it.got.recipe.peak_lr == pytest.approx(0.5)),
    ("temperature", (4.0, 1.0), lambda it: loss_calls(it)[0][2].temperature == pytest.approx(2.0)),
    ("noise", "gumbel", lambda it: loss_calls(it)[0][2].noise == "gumbel"),
    ("sampling", "even", lambda it: loss_calls(it)[0][2].sampling == "even"),
    ("elastic_width", "sandwich", lambda it: len(loss_calls(it)) == 3),
    ("elastic_width", "none", lambda it: len(loss_calls(it)) == 1),
    ("mixup", 0.8, lambda it: same_mixing(it, 0.8, 0.0, 0.0)),
    ("cutmix", 0.7, lambda it: same_mixing(it, 0.0, 0.7, 0.0)),
    ("ema_decay", 0.9, lambda it: it.got.recipe.ema_decay == 0.9),
    ("recompute", True, lambda it: loss_calls(it)[0][3] is True),
    ("held_out", 0.4, lambda it: it.steps == round(500 * 0.6) // 50),
]
SLIMMABLE = [
    ("label_smoothing", 0.3, lambda it: same_mixing(it, 0.0, 0.0, 0.3)),
    ("mixup", 0.8, lambda it: same_mixing(it, 0.8, 0.0, 0.1)),
    ("cutmix", 0.7, lambda it: same_mixing(it, 0.0, 0.7, 0.1)),
    ("ema_decay", 0.9, lambda it: it.got.recipe.ema_decay == 0.9),
    ("batch_norm", "switchable", lambda it: len(it.got.model.norms) > 10),
    ("batch_norm", "shared", lambda it: len(it.got.model.norms) == 0),
    ("networks", 3, lambda it: len(loss_calls(it)) == 3),
    ("recompute", True, lambda it: loss_calls(it)[0][2] is True),
    ("held_out", 0.4, lambda it: it.steps == round(500 * 0.6) // 50),
]
"""Of the supernet of V2's blocks; what else it has is of `OPTIMIZER`."""
CASES = [
    *(("train", name, value, lambda it, seen=seen: seen(it, "train")) for name, value, seen in OPTIMIZER),
    *(("supernet", name, value, lambda it, seen=seen: seen(it, "supernet")) for name, value, seen in OPTIMIZER),
    *(("train", *case) for case in TRAIN),
    *(("supernet", *case) for case in SUPERNET),
]


@pytest.mark.parametrize(
    ("group", "name", "value", "reached"), CASES, ids=[f"{group}.{name} {value}" for group, name, value, _ in CASES]
)
def test_a_setting_reaches_its_training(started, taught, group, name, value, reached):
    # The settings of `supernet` are those of MetaPaths here, and `init` is seen in a layer scale of MB4D.
    is_of_teacher = group == "train" and name in TeacherSettings.model_fields
    given = {**(taught if is_of_teacher else {}), name: value}
    given = {key: taught.get(key, item) if item in ("NAMED", "FOLDER") else item for key, item in given.items()}
    assert reached(started(group, {"space": "quick", group: given}))


@pytest.mark.parametrize(
    ("name", "value", "reached"), SLIMMABLE, ids=[f"{name} {value}" for name, value, _ in SLIMMABLE]
)
def test_a_setting_reaches_the_training_of_a_slimmable_network(started, name, value, reached):
    assert reached(started("supernet", {"space": "v2_quick", "supernet": {name: value}}))


def test_each_kind_of_space_has_its_supernet_and_its_loss(started):
    for space, kind, task in (("quick", Supernet, SupernetTask), ("v2_quick", SlimmableNetwork, SlimmableTask)):
        training = started("supernet", {"space": space})
        assert isinstance(training.got.model, kind) and isinstance(training.got.task, task)


@pytest.mark.parametrize("space", ["quick", "v2_quick"])
def test_the_moving_average_is_the_supernet(images, monkeypatch, tmp_path, space):
    """Its weights are written and scored, not those of the last step."""

    def fit(model, *_, **__):
        averaged = copy.deepcopy(model)
        with torch.no_grad():
            averaged.head.weight.fill_(0.25)
        return averaged

    monkeypatch.setattr(fit_images, "fit", fit)
    settings = resolve_settings({"resolution": 16, "space": space, "slim": {"images": 60, "bn_images": 0}})
    workspace = Workspace(RunDir(tmp_path), settings, RunConsole(quiet=True))
    workspace.__dict__["dataset"] = images
    supernet._train(workspace, "run")
    assert bool((read_tensors(workspace.run_dir.supernet_weights)["head.weight"] == 0.25).all())
    record = read_record(workspace.run_dir.supernet_record, SupernetRecord)
    assert ("alphas" in record) == (space == "quick") and record["held_out_top1"] == pytest.approx(10, abs=5)


@pytest.fixture(scope="module")
def uneven(images):
    """50 training images of the first class, 10 of every other one."""
    labels = np.array(images.train.labels)
    indices = [index for label in range(10) for index in np.flatnonzero(labels == label)[: 10 if label else 50]]
    return replace(images, train=images.train.subset(indices))


KINDS = [("train", "quick"), ("trial", "quick"), ("recovery", "quick"), ("supernet", "quick"), ("supernet", "v2_quick")]


@pytest.mark.parametrize(("kind", "space"), KINDS)
def test_classes_are_balanced_in_every_training(started, uneven, kind, space):
    group = "train" if kind in ("train", "trial") else "supernet"
    slim = {"recover_every": 1, "trials": 2, "polish": 0}

    def start(balance):
        return started(kind, {"space": space, group: {"balance": balance, "batch_size": 14}, "slim": slim}, uneven)

    def first_labels(training):
        batches = training.got.batches_from(0)
        return torch.cat([next(batches)[1] for _ in range(training.steps)]).bincount(minlength=10)

    plain, sampled, weighted = start("none"), start("sampling"), start("weights")
    assert first_labels(sampled).max() - first_labels(sampled).min() <= 4
    for training in (plain, weighted):
        assert first_labels(training)[0] > 30
    x, y = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    if plain.mixing is not None:
        assert torch.allclose(plain.mixing(x, y)[1].sum(1), torch.ones(2))
    _, targets = weighted.mixing(x, y)
    assert targets[1].sum() / targets[0].sum() == pytest.approx(5.0), (
        "also of the images that are left after holding out"
    )
    smoothed = targets[0] / targets[0].sum()
    assert smoothed[1] == pytest.approx(0.01), "the smoothing is a part of what is weighted"
    if kind == "supernet" and space == "quick":
        assert weighted.got.task._label_smoothing == 0.0


def test_with_a_balance_the_best_epoch_is_by_balanced_accuracy(started):
    training = started("train", {"train": {"patience": 2, "keep": "last", "balance": "sampling"}})
    assert best_of(training) == (2, False, "held_out_balanced_accuracy")


BALANCED = {"train.balance", "supernet.balance"}


def test_no_setting_of_a_training_is_left_out():
    cases = [*CASES, *(("supernet", *case) for case in SLIMMABLE)]
    assert {f"{group}.{name}" for group, name, *_ in cases} | BALANCED == {*leaves("train"), *leaves("supernet")}


def test_mixup_and_cutmix_take_turns_where_both_are_given(started):
    assert same_mixing(started("train", {"train": {"mixup": 0.8, "cutmix": 1.0}}), 0.8, 1.0, 0.1)


@pytest.mark.parametrize("group", ["train", "supernet"])
def test_settings_of_the_run_reach_its_trainings(started, group):
    training = started(group, {"seed": 5, "resolution": 32, "training_threads": 1, "training_device": "cpu"})
    assert training.got.recipe.seed == 5 and batch(training)[0].shape[2:] == (32, 32)
    assert torch.get_num_threads() == 1 and next(training.got.model.parameters()).device.type == "cpu"


@pytest.mark.parametrize("kind", ["trial", "recovery"])
def test_short_trainings_have_the_settings_of_their_group(started, kind):
    group = "train" if kind == "trial" else "supernet"
    given = {"weight_decay": 0.3, "label_smoothing": 0.3, "augmentation": "standard", "precision": "bf16"}
    slim = {"recover_every": 1, "recover_steps": 7, "recover_lr": 0.07, "trials": 2, "trial_epochs": 3, "polish": 0}
    training = started(kind, {group: {**given, "lr_warmup_epochs": 2.0}, "slim": slim})
    recipe = training.got.recipe
    assert recipe.weight_decay == 0.3 and recipe.precision == "bf16" and same_mixing(training, 0, 0, 0.3)
    assert same_images(training, "supernet", "standard")
    if kind == "trial":
        assert recipe.num_steps == 3 * training.steps and recipe.lr_warmup_steps == round(1.5 * training.steps)
    else:
        assert (recipe.num_steps, recipe.peak_lr, recipe.lr_warmup_steps) == (7, 0.07, 0)


@pytest.mark.parametrize("origin", ["scratch", "supernet", "file"])
def test_branches_are_dropped_wherever_the_weights_are_from(started, tmp_path, monkeypatch, origin):
    given = {"train": {"drop_path_rate": 0.4, "init": "supernet" if origin == "supernet" else "scratch"}}
    if origin == "file":
        plain = started("train", {}).got.model
        assert drop_probabilities(plain) == [0.0] * len(drop_probabilities(plain))
        save_weights(plain, tmp_path / "weights.safetensors")
        monkeypatch.setattr(
            stand_alone,
            "initial_network",
            lambda run, _: pretrained_network(run, "weights.safetensors", tmp_path / "weights.safetensors")[0],
        )
    network = started("train", given).got.model
    last = len(drop_probabilities(network)) - 1
    assert isinstance(network, Network) and last > 0
    assert drop_probabilities(network) == pytest.approx([0.4 * index / last for index in range(last + 1)])
    network.train()
    x = torch.randn(64, 3, 16, 16)
    assert not torch.equal(network(x), network(x)), "some branch of some image is dropped"


def test_a_batch_larger_than_the_images_is_said(started, capsys):
    training = started("train", {"train": {"batch_size": 501}})
    assert training.steps == 1
    workspace = Workspace(training.workspace.run_dir, training.workspace.settings, RunConsole())
    workspace.__dict__["dataset"] = training.workspace.dataset
    capsys.readouterr()
    checkpoint = CheckpointFile(training.workspace.run_dir.root / "checkpoint.pt", "run")
    with pytest.raises(Reached):
        stand_alone.train_images(workspace, training.got.model, title="t", checkpoint=checkpoint, log=None)  # type: ignore[arg-type]
    assert "all 500 images, fewer than batch_size 501" in capsys.readouterr().err


def test_a_share_of_validation_images_without_effect_is_said(tmp_path, capsys):
    from PIL import Image

    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(3):
                Image.new("RGB", (20, 20), (index, 0, 0)).save(tmp_path / part / name / f"{index}.png")
    for given, is_said in ({"val_fraction": 0.3}, True), ({}, False):
        settings = Settings.model_validate({"data": str(tmp_path), **given})
        assert Workspace(RunDir(tmp_path / "run"), settings, RunConsole()).dataset
        assert ("val_fraction has no effect" in capsys.readouterr().err) is is_said
