"""Trainings of a run, stopped where their loop would begin: what they got."""

from dataclasses import dataclass

import torch

from efficientformer.data.loading.loader import train_batches
from efficientformer.data.mixing import build_mixing
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.tasks.distillation import Distillation
from efficientformer.tasks.frozen_backbone import FrozenBackbone

BASE = {
    "resolution": 16,
    "train": {"epochs": 4, "batch_size": 50, "frozen_epochs": 0.0},
    "parent": {"epochs": 4, "batch_size": 50, "frozen_epochs": 0.0},
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
        task = self.got.task
        if isinstance(task, FrozenBackbone | Distillation):
            task = task._task
        return task._mix if hasattr(task, "_mix") else task._mixing

    @property
    def steps(self):
        return self.got.recipe.steps_per_epoch


def batch(training):
    return next(training.got.batches_from(0))


def same_images(training, group, augmentation):
    """Whether the first batch is what this augmentation makes of the images."""
    images = training.workspace.training_images
    if group in ("supernet", "parent"):
        images, _ = search_splits(training.workspace)
    view = training.workspace.task.train_view(training.workspace.preprocessing, augmentation)
    expected = next(train_batches(images, view, batch_size=50, seed=training.got.recipe.seed))
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
