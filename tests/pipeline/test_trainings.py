"""Trainings of a run beside the single settings that reach them: balance of classes, dropped branches, what is said."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline.networks import stand_alone
from efficientformer.pipeline.networks.pretrained import pretrained_network
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog

from .started import Reached, best_of, drop_probabilities


@pytest.fixture(scope="module")
def uneven(few_images):
    """50 training images of the first class, 10 of every other one."""
    labels = np.array(few_images.train.labels)
    indices = [index for label in range(10) for index in np.flatnonzero(labels == label)[: 10 if label else 50]]
    return replace(few_images, train=few_images.train.subset(indices))


KINDS = [
    *((kind, "quick") for kind in ("train", "parent", "trial", "recovery", "supernet")),
    ("supernet", "v2_quick"),
    ("round", "v2_quick"),
    ("elastic", "v2_quick"),
]


@pytest.mark.parametrize(("kind", "space"), KINDS)
def test_classes_are_balanced_in_every_training(started, uneven, kind, space):
    group = {"trial": "train", "recovery": "supernet", "round": "parent", "elastic": "parent"}.get(kind, kind)
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


def test_a_network_of_the_supernet_starts_with_statistics_of_its_own(started):
    """Those of a supernet that was not trained are zero and one."""
    norm = started("train", {"train": {"init": "supernet"}}).got.model.stem.norm1
    assert norm.running_mean.abs().max() > 0.01 and norm.momentum == 0.1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"batch_size": 501}, "all 500 images, fewer than batch_size 501"),
        ({"batch_size": 300, "accumulate": 2}, "2 batches has 600 images, more than the 500 there are"),
        (
            {"batch_size": 50, "accumulate": 10, "lr": 1e-3, "lr_per": 1000},
            "learning rate 0.0005 for 500 images a step: 0.001 is for 1000",
        ),
    ],
)
def test_a_step_larger_than_the_images_and_a_rate_by_its_images_are_said(started, capsys, given, says):
    training = started("train", {"train": given})
    assert training.steps == 1
    workspace = Workspace(training.workspace.run_dir, training.workspace.settings, RunConsole())
    workspace.__dict__["dataset"] = training.workspace.dataset
    capsys.readouterr()
    root = training.workspace.run_dir.root
    options = {"checkpoint": CheckpointFile(root / "checkpoint.pt", "run"), "log": MetricsLog(root / "metrics.jsonl")}
    with pytest.raises(Reached):
        stand_alone.train_images(workspace, training.got.model, title="t", **options)
    assert says in capsys.readouterr().err


def test_a_share_of_validation_images_without_effect_is_said(tmp_path, capsys):
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(3):
                Image.new("RGB", (20, 20), (index, 0, 0)).save(tmp_path / part / name / f"{index}.png")
    for given, is_said in ({"val_fraction": 0.3}, True), ({}, False):
        settings = Settings.model_validate({"data": str(tmp_path), **given})
        assert Workspace(RunDir(tmp_path / "run"), settings, RunConsole()).dataset
        assert ("val_fraction has no effect" in capsys.readouterr().err) is is_said
