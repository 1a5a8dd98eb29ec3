"""Training on several labels an image: it learns them, and resumes bit for bit, with a teacher and without."""

import numpy as np
import pytest
import torch

from efficientformer.data.dataset import UNLABELLED, ImageSplit
from efficientformer.data.loading.loader import eval_batches, train_batches, with_unlabelled
from efficientformer.data.loading.memory import MemorySource
from efficientformer.data.transforms import Preprocessing
from efficientformer.models.network import Network
from efficientformer.tasks.distillation import Distillation
from efficientformer.tasks.multi_label.kind import LABEL_SETS
from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe

from ..models.small import SMALL, SMALL_V2
from .kills import Killed, killing_after

PREPROCESSING = Preprocessing(32)
CLASSES = ("dark", "red")


def split(count, labelled=True):
    """Noise that is dark or not, red or not, each by chance."""
    rng = np.random.default_rng(count)
    labels = [tuple(np.flatnonzero(row).tolist()) for row in rng.random((count, 2)) < 0.5]
    pixels = rng.integers(0, 120, (count, 32, 32, 3))
    for image, label in zip(pixels, labels, strict=True):
        image += 0 if 0 in label else 60
        image[..., 0] += 75 if 1 in label else 0
    source = MemorySource([str(index) for index in range(count)], list(pixels.astype(np.uint8)))
    return ImageSplit(source, CLASSES, labels if labelled else [UNLABELLED] * count, [*range(count)])


TRAIN, VAL, WITHOUT = split(48), split(30), split(20, labelled=False)


def network(architecture=SMALL_V2, seed=0):
    torch.manual_seed(seed)
    return Network(architecture, num_classes=2, resolution=32)


def score(model):
    return LABEL_SETS.evaluate(model, eval_batches(VAL, LABEL_SETS.eval_view(PREPROCESSING), batch_size=30), 2).primary


def batches(step, *, taught):
    view = LABEL_SETS.train_view(PREPROCESSING, "light")
    labelled = train_batches(TRAIN, view, batch_size=8, seed=0, start_step=step, is_balanced=True)
    if not taught:
        return labelled
    return with_unlabelled(labelled, train_batches(WITHOUT, view, batch_size=4, seed=1, start_step=step))


def train(folder, *, num_steps=6, kill_at=(), taught: str | None = None):
    torch.set_num_threads(1)
    on_step = killing_after(kill_at)
    recipe = Recipe(num_steps=num_steps, steps_per_epoch=3, peak_lr=0.01, seed=3, lr_warmup_steps=2, ema_decay=0.5)
    while True:
        student = network()
        task = LABEL_SETS.task(LABEL_SETS.mixing(TRAIN, 0.1, is_weighted=True, mixup=0.4))
        if taught:
            task = Distillation(task, network(SMALL, seed=1), taught, task_kind=LABEL_SETS)  # type: ignore[arg-type]
            torch.manual_seed(7)
            task.attach(student)
        try:
            averaged = fit(
                student,
                task,
                lambda step: batches(step, taught=taught),
                recipe,
                checkpoint=CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0),
                log=MetricsLog(folder / "metrics.jsonl"),
                on_step=on_step,
                best=BestEpoch(score, "held_out_mean_ap", patience=5),
            )
        except Killed:
            continue
        return averaged, (folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize("taught", [None, "hard", "features"])
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, taught):
    whole, log = train(tmp_path / "whole", taught=taught)
    resumed, resumed_log = train(tmp_path / "killed", taught=taught, kill_at=(2, 4))
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert log == resumed_log and "held_out_mean_ap" in log and ("teacher_loss" in log) is (taught is not None)


def test_both_labels_are_learned(tmp_path):
    before = score(network())
    after = score(train(tmp_path, num_steps=24)[0])
    assert after > 90 and after > before + 10, (before, after)
