"""Training on masks: a killed run ends with the same bits, ignored masks do no harm, and classes are learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from efficientformer.arch.dense import SemanticFpn
from efficientformer.data.dataset import UNLABELLED, ImageSplit
from efficientformer.data.loading.loader import eval_batches, train_batches, with_unlabelled
from efficientformer.data.loading.memory import MemorySource
from efficientformer.data.masks.mask import IGNORED, Mask
from efficientformer.data.transforms import Preprocessing
from efficientformer.models.network import Network
from efficientformer.tasks.distillation import Distillation
from efficientformer.tasks.semantic.kind import SEMANTIC_KIND
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe

from ..models.small import SMALL, SMALL_V2
from .kills import Killed, killing_after

PREPROCESSING = Preprocessing((16, 32), crop_ratio=1.0, is_stretched=True)


def split(count, labelled=True):
    """A bright block on dark noise, and the mask of both; every fourth mask is ignored as a whole."""
    rng = np.random.default_rng(count)
    pixels, labels = [], []
    for index in range(count):
        mask = np.zeros((16, 32), np.uint8)
        top, left = rng.integers(0, 8), rng.integers(0, 16)
        mask[top : top + 8, left : left + 16] = 1
        pixels.append((rng.integers(0, 90, (16, 32, 3)) + 140 * mask[..., None]).astype(np.uint8))
        labels.append(Mask(np.full_like(mask, IGNORED), ()) if index % 4 == 3 else Mask(mask, (0, 1)))
    source = MemorySource([str(index) for index in range(count)], pixels)
    return ImageSplit(source, ("dark", "bright"), labels if labelled else [UNLABELLED] * count, [*range(count)])


TRAIN, VAL, WITHOUT = split(16), split(10), split(8, labelled=False)


def network(architecture=SMALL_V2, seed=0):
    torch.manual_seed(seed)
    head = SemanticFpn(16, 8)
    return Network(replace(architecture, head=head), num_classes=2, resolution=(16, 32))


def score(model):
    return SEMANTIC_KIND.evaluate(
        model, eval_batches(VAL, SEMANTIC_KIND.score_view(PREPROCESSING), batch_size=4), 2
    ).miou


def train(folder, *, num_steps=4, kill_at=(), is_taught=False):
    torch.set_num_threads(1)
    on_step, view = killing_after(kill_at), SEMANTIC_KIND.train_view(PREPROCESSING, "light")

    def batches_from(step):
        labelled = train_batches(TRAIN, view, batch_size=4, seed=0, start_step=step)
        more = train_batches(WITHOUT, view, batch_size=2, seed=1, start_step=step)
        return with_unlabelled(labelled, more) if is_taught else labelled

    recipe = Recipe(num_steps=num_steps, steps_per_epoch=4, peak_lr=0.01, seed=3, ema_decay=0.5)
    while True:
        student, task = network(), SEMANTIC_KIND.task(SEMANTIC_KIND.mixing(TRAIN, 0.0, is_weighted=False))
        if is_taught:
            task = Distillation(task, network(SMALL, seed=1), "soft", task_kind=SEMANTIC_KIND)
            task.attach(student)
        try:
            checkpoint = CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0)
            log = MetricsLog(folder / "metrics.jsonl")
            averaged = fit(student, task, batches_from, recipe, checkpoint=checkpoint, log=log, on_step=on_step)
        except Killed:
            continue
        return averaged, (folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize("is_taught", [False, True])
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, is_taught):
    whole, log = train(tmp_path / "whole", is_taught=is_taught)
    resumed, resumed_log = train(tmp_path / "killed", is_taught=is_taught, kill_at=(2,))
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert log == resumed_log and ("teacher_loss" in log) is is_taught


def test_both_classes_are_learned(tmp_path):
    before = score(network())
    after = score(train(tmp_path, num_steps=24)[0])
    assert after > 75 and after > before + 20, (before, after)
