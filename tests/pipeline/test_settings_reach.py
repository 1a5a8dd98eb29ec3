"""Every setting of a training reaches the recipe, the images, the mixing, the task or the network of that training."""

import copy
import math

import pytest
import torch

from efficientformer.data.dataset import UNLABELLED
from efficientformer.data.loading.loader import Batch
from efficientformer.formats.slimming import SupernetRecord
from efficientformer.models.network import Network
from efficientformer.models.weights_file import read_tensors
from efficientformer.pipeline.phases import supernet
from efficientformer.pipeline.run import fit_images
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.settings import leaves
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.teacher import TeacherSettings
from efficientformer.pipeline.settings.training import NetworkSettings
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.slimmable_task import SlimmableTask
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.distillation import Distillation

from .started import batch, best_of, drop_probabilities, same_images, same_mixing, scores_at


def unlabelled_of(training):
    return int((batch(training)[1] == UNLABELLED).sum())


OPTIMIZER = [
    ("epochs", 3, lambda it, _: it.got.recipe.num_steps == 3 * it.steps),
    ("batch_size", 20, lambda it, _: len(batch(it)[1]) == 20),
    ("lr", 0.03, lambda it, _: it.got.recipe.peak_lr == 0.03),
    ("weight_decay", 0.3, lambda it, _: it.got.recipe.weight_decay == 0.3),
    ("lr_warmup_epochs", 2.5, lambda it, _: it.got.recipe.lr_warmup_steps == round(2.5 * it.steps) > 0),
    ("augmentation", "standard", lambda it, group: same_images(it, group, "standard")),
    ("augmentation", "light", lambda it, group: same_images(it, group, "light")),
    ("precision", "bf16", lambda it, _: it.got.recipe.precision == "bf16"),
    ("precision", "auto", lambda it, _: it.got.recipe.precision == "fp32"),
    ("sync_batch_norm", True, lambda it, _: it.got.recipe.sync_batch_norm),
]
TRAIN = [
    ("label_smoothing", 0.3, lambda it: same_mixing(it, 0.0, 0.0, 0.3)),
    ("mixup", 0.8, lambda it: same_mixing(it, 0.8, 0.0, 0.1)),
    ("cutmix", 0.7, lambda it: same_mixing(it, 0.0, 0.7, 0.1)),
    ("ema_decay", 0.9, lambda it: it.got.recipe.ema_decay == 0.9),
    ("layer_decay", 0.6, lambda it: it.got.recipe.layer_decay == 0.6),
    ("frozen_epochs", 1.5, lambda it: it.got.recipe.lr_hold_steps == it.got.task._num_steps == round(1.5 * it.steps)),
    ("drop_path_rate", 0.4, lambda it: drop_probabilities(it.got.model)[-1] == 0.4),
    ("compile", True, lambda it: it.got.recipe.is_compiled),
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
    training.got.task.loss(training.got.model, Batch(torch.zeros(2, 3, 16, 16), torch.tensor([0, 1])), 0.5)
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
JUDGING = ("patience", "keep")
"""Seen in the split of the images, which a parent has whether its epochs are judged or not."""
OF_START = {"parent.init", "parent.weights", "parent.keep"}
BELOW_PARENT = {f"parent.{kind}_{name}" for kind in ("round", "elastic") for name in ("epochs", "lr")}
"""In `test_trainings_below_a_parent_have_its_settings`."""
CASES = [
    *(("train", name, value, lambda it, seen=seen: seen(it, "train")) for name, value, seen in OPTIMIZER),
    *(("supernet", name, value, lambda it, seen=seen: seen(it, "supernet")) for name, value, seen in OPTIMIZER),
    *(("parent", name, value, lambda it, seen=seen: seen(it, "parent")) for name, value, seen in OPTIMIZER),
    *(("train", *case) for case in TRAIN),
    *(("parent", *case) for case in TRAIN if case[0] in NetworkSettings.model_fields and case[0] not in JUDGING),
    ("parent", "patience", 3, lambda it: best_of(it) == (3, True, "held_out_top1")),
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
def test_the_moving_average_is_the_supernet(few_images, monkeypatch, tmp_path, space):
    """Its weights are written and scored, not those of the last step."""

    def fit(model, *_, **__):
        averaged = copy.deepcopy(model)
        with torch.no_grad():
            averaged.head.weight.fill_(0.25)
        return averaged

    monkeypatch.setattr(fit_images, "fit", fit)
    settings = resolve_settings({"resolution": 16, "space": space, "slim": {"images": 60, "bn_images": 0}})
    workspace = Workspace(RunDir(tmp_path), settings, RunConsole(quiet=True))
    workspace.__dict__["dataset"] = few_images
    supernet._keep(workspace, *supernet._train(workspace, "run"))
    assert bool((read_tensors(workspace.run_dir.supernet_weights)["head.weight"] == 0.25).all())
    record = read_record(workspace.run_dir.supernet_record, SupernetRecord)
    assert ("alphas" in record) == (space == "quick") and record["held_out_top1"] == pytest.approx(10, abs=5)


OF_MASKS = {"train.head_dropout"}
"""In `tests/end_to_end/test_segmentation.py`."""
BALANCED = {"train.balance", "supernet.balance", "parent.balance"}
"""In `test_trainings`."""


def test_no_setting_of_a_training_is_left_out():
    cases = [*CASES, *(("supernet", *case) for case in SLIMMABLE)]
    finer = {f"{group}.{name}" for group in ("train", "supernet", "parent") for name in FINER}
    assert {f"{group}.{name}" for group, name, *_ in cases} | BALANCED | OF_MASKS | OF_START | BELOW_PARENT | finer == {
        *leaves("train"),
        *leaves("supernet"),
        *leaves("parent"),
    }


def test_mixup_and_cutmix_take_turns_where_both_are_given(started):
    assert same_mixing(started("train", {"train": {"mixup": 0.8, "cutmix": 1.0}}), 0.8, 1.0, 0.1)


@pytest.mark.parametrize("group", ["train", "supernet"])
def test_settings_of_the_run_reach_its_trainings(started, group):
    training = started(group, {"seed": 5, "resolution": 32, "training_threads": 1, "training_device": "cpu"})
    assert training.got.recipe.seed == 5 and batch(training)[0].shape[2:] == (32, 32)
    assert torch.get_num_threads() == 1 and next(training.got.model.parameters()).device.type == "cpu"


FINER = {"batch_size": 50, "accumulate": 2, "repeated": 5, "lr": 0.01, "lr_per": 200, "lr_final": 1e-4}
FINER |= {"lr_warmup_from": 1e-5, "schedule": "poly", "clip_norm": 0.0, "agc": 0.02}


@pytest.mark.parametrize("group", ["train", "supernet", "parent"])
def test_finer_settings_reach_every_training(started, group):
    training = started(group, {"space": "quick", group: FINER})
    recipe, batches = training.got.recipe, training.got.batches_from
    assert recipe.peak_lr == pytest.approx(0.01 * 2 * 50 / 200)
    assert (recipe.first_lr, recipe.final_lr, recipe.schedule) == (1e-5, 1e-4, "poly")
    assert (recipe.clip_norm, recipe.agc, recipe.accumulate) == (math.inf, 0.02, 2)
    assert training.steps == (500 if group == "train" else 450) // 100 and recipe.num_steps == 4 * training.steps
    _, second, third = (labels for _, (_, labels) in zip(range(3), batches(0), strict=False))
    assert torch.equal(third, next(batches(1))[1]) and not torch.equal(third, second), "a step takes two batches"
    assert (third.view(5, 10) == third[:10]).all() and len(set(third.tolist())) > 2
    if group == "supernet":
        assert training.got.task.lr_scales()["alpha"] * recipe.peak_lr == pytest.approx(1e-2), "alpha_lr as it is given"


@pytest.mark.parametrize("kind", ["round", "elastic"])
def test_trainings_below_a_parent_have_its_settings(started, kind):
    given = {"weight_decay": 0.3, "label_smoothing": 0.3, "augmentation": "standard", "precision": "bf16"}
    given |= {"mixup": 0.8, "lr_warmup_epochs": 2.0, "ema_decay": 0.9, f"{kind}_epochs": 3, f"{kind}_lr": 0.07}
    given |= {"agc": 0.02, "lr_per": 10, "lr_final": 1e-3, "lr_warmup_from": 1e-3}
    training = started(kind, {"space": "v2_quick", "parent": given})
    recipe, task = training.got.recipe, training.got.task
    assert recipe.weight_decay == 0.3 and recipe.precision == "bf16" and same_mixing(training, 0.8, 0.0, 0.3)
    assert same_images(training, "parent", "standard") and len(batch(training)[1]) == 50
    assert (recipe.num_steps, recipe.peak_lr, recipe.lr_warmup_steps) == (3 * training.steps, 0.07, 0)
    assert recipe.ema_decay == 0.0 and recipe.layer_decay == 1.0 and recipe.agc == 0.02
    assert recipe.first_lr is None and recipe.final_lr is None, "they are those of another peak"
    if kind == "round":
        assert (task._kind, task._weight, task._temperature) == ("soft", 0.9, 1.0)
        assert isinstance(task._teacher._module, Network)
    else:
        assert isinstance(task, SlimmableTask) and len(loss_calls(training)) == 4


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
