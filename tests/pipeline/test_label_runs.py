"""Several labels an image in a run: every training takes them, and files and settings say so."""

import json
from dataclasses import replace

import pytest
import torch

from efficientformer.data.loading.loader import Batch
from efficientformer.errors import UsageError
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline.networks.pretrained import pretrained_network
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.inputs import weights_metadata
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import require_metric
from efficientformer.run_dir import RunDir
from efficientformer.tasks.multi_label.kind import LABEL_SETS

from ..models.small import SMALL
from .started import best_of, scores_at


@pytest.fixture(scope="module")
def label_sets(few_images):
    """The shipped images; each has its class, and every other one the next class as well."""

    def several(split):
        return replace(split, labels=[(n, n + 1) if i % 2 and n < 9 else (n,) for i, n in enumerate(split.labels)])

    return replace(few_images, train=several(few_images.train), val=several(few_images.val), task="multi_label")


@pytest.fixture
def workspace(label_sets, tmp_path):
    def make(dataset=label_sets, **settings):
        made = Workspace(RunDir(tmp_path / "run"), Settings(resolution=16, **settings), RunConsole(quiet=True))
        made.__dict__["dataset"] = dataset
        return made

    return make


@pytest.mark.parametrize(
    ("kind", "space"),
    [*((kind, "quick") for kind in ("train", "parent", "trial", "recovery", "supernet")), ("supernet", "v2_quick")],
)
def test_every_training_takes_the_labels(started, label_sets, kind, space):
    """And what it learns from is what the images have, with the smoothing towards the shares of the classes."""
    group = {"trial": "train", "recovery": "supernet"}.get(kind, kind)
    slim = {"recover_every": 1, "trials": 2, "polish": 0}
    training = started(kind, {"space": space, group: {"label_smoothing": 0.2}, "slim": slim}, label_sets)
    x, marks = next(training.got.batches_from(0))
    assert marks.shape == (len(x), 10) and set(marks.unique().tolist()) == {0.0, 1.0}
    loss = training.got.task.loss(training.got.model.train(), Batch(x[:4], marks[:4]), 0.0)
    loss.backward()
    assert loss.isfinite() and training.got.model.head.weight.grad.abs().sum() > 0
    _, targets = training.mixing(x, marks)
    assert torch.allclose(targets.sum(dim=2), torch.ones_like(marks))
    assert (targets[..., 0][marks == 1] > 0.8).all() and (targets[..., 0][marks == 0] < 0.1).all()


def test_epochs_are_judged_and_logged_by_the_mean_average_precision(started, label_sets):
    training = started("train", {"train": {"patience": 2, "balance": "sampling"}}, label_sets)
    assert best_of(training) == (2, True, "held_out_mean_ap")
    scores = scores_at(training, training.workspace.settings.train.epochs)
    assert list(scores) == ["val_mean_ap"] and 0 < scores["val_mean_ap"] <= 100


def test_weights_say_their_task_and_keep_their_head_in_it_alone(workspace, few_images, tmp_path):
    several, one = workspace(), workspace(few_images)
    assert json.loads(weights_metadata(several)["task"]) == "multi_label" and [*weights_metadata(one)] == ["classes"]
    for made in (several, one):
        path = tmp_path / f"{made.task.words.name}.safetensors"
        save_weights(Network(SMALL, num_classes=10, resolution=16), path, weights_metadata(made))
    for made in (several, one):
        heads = [
            pretrained_network(made, str(path), path)[1]["head"]
            for path in (tmp_path / "multi_label.safetensors", tmp_path / "classification.safetensors")
        ]
        assert heads == (["kept", "new"] if made is several else ["new", "kept"])


def test_a_metric_of_the_other_task_is_refused(workspace, few_images):
    assert workspace().task is LABEL_SETS
    for dataset, metric, other in ((None, "top1", "mean_ap"), (few_images, "mean_ap", "top1")):
        made = workspace(**({} if dataset is None else {"dataset": dataset}), slim={"metric": metric})
        with pytest.raises(UsageError, match=f"slim.metric {metric} is no score .* use likelihood or {other}"):
            require_metric(made)
    for metric in ("likelihood", "mean_ap"):
        require_metric(workspace(slim={"metric": metric}))
