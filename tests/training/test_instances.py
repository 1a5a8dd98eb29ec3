"""Training on masks of objects: a killed run ends with the same bits."""

from dataclasses import replace

import numpy as np
import torch

from efficientformer.arch.dense import MaskRcnn
from efficientformer.data.boxes.objects import Instance, Objects
from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loading.loader import train_batches
from efficientformer.data.loading.memory import MemorySource
from efficientformer.data.transforms import Preprocessing
from efficientformer.models.network import Network
from efficientformer.tasks.instance.kind import INSTANCES
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe

from ..models.small import SMALL_V2
from .kills import Killed, killing_after

PREPROCESSING = Preprocessing((32, 32), crop_ratio=1.0)


def split(count):
    """A bright rectangle on dark noise; every third picture shows none."""
    rng = np.random.default_rng(count)
    pixels, labels = [], []
    for index in range(count):
        x1, y1 = (int(value) for value in rng.integers(0, 12, 2))
        picture = rng.integers(0, 90, (32, 32, 3))
        picture[y1 : y1 + 20, x1 : x1 + 16] += 140
        pixels.append(picture.astype(np.uint8))
        x2, y2 = x1 + 16, y1 + 20
        polygon = [float(value) for value in (x1, y1, x2, y1, x2, y2, x1, y2)]
        found = Instance(index % 2, (x1, y1, x2, y2), False, 320.0, [polygon])
        labels.append(Objects(32, 32, () if index % 3 == 2 else (found,), index))
    source = MemorySource([str(index) for index in range(count)], pixels)
    return ImageSplit(source, ("even", "odd"), labels, [*range(count)])


def train(folder, images, *, kill_at=(), workers=0):
    torch.set_num_threads(1)
    on_step, view = killing_after(kill_at), INSTANCES.train_view(PREPROCESSING, "standard")
    recipe = Recipe(num_steps=4, steps_per_epoch=2, peak_lr=0.01, seed=3, ema_decay=0.5)
    while True:
        torch.manual_seed(0)
        network = Network(replace(SMALL_V2, head=MaskRcnn(16, 8, 16, 8)), num_classes=2, resolution=32)
        try:
            averaged = fit(
                network,
                INSTANCES.task(INSTANCES.mixing(images, 0.0, is_weighted=False)),
                lambda step: train_batches(images, view, batch_size=3, seed=0, start_step=step, workers=workers),
                recipe,
                checkpoint=CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0),
                log=MetricsLog(folder / "metrics.jsonl"),
                on_step=on_step,
            )
        except Killed:
            continue
        return averaged.state_dict(), (folder / "metrics.jsonl").read_text()


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path):
    images = split(6)
    whole, log = train(tmp_path / "whole", images)
    resumed, resumed_log = train(tmp_path / "killed", images, kill_at=(1, 3), workers=1)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert log == resumed_log and "loss_mask" in log
