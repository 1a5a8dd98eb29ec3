"""The two oracles of slimming, made from a run's records: the supernet that judges subnets, and the table's bounds."""

import math

import torch
from safetensors.torch import load_file

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loader import eval_batches
from efficientformer.data.transforms import eval_transform
from efficientformer.errors import BudgetError
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.plan import SUPERNET
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import judging_splits
from efficientformer.pipeline.slimming.promise import promises
from efficientformer.search.scoring.accuracy import Batch, SupernetAccuracy
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.training.loop import seed_initial_weights

FEWEST_BY_THEMSELVES, INSTEAD = 50, 512
"""Fewer images that judge do not tell what batch norm has to know; so many training images do, in their place."""


def build_supernet(workspace: Workspace) -> Supernet:
    """The supernet of this run with fresh weights, reproducible from the seed."""
    settings = workspace.settings
    seed_initial_weights(settings.seed)
    return Supernet(workspace.space, resolution=settings.resolution, num_classes=len(workspace.dataset.classes))


def load_supernet(workspace: Workspace) -> Supernet:
    """The trained supernet of this run."""
    weights = load_file(SUPERNET.require(workspace)[0])
    with torch.device("meta"):  # weights that nobody needs would take longer to draw than these to load
        supernet = build_supernet(workspace)
    supernet.load_state_dict(weights, assign=True)
    return supernet.to(workspace.training_device)


def accuracy_oracle(workspace: Workspace, supernet: Supernet) -> SupernetAccuracy:
    """Judges subnets on images that the supernet was not trained on."""
    settings = workspace.settings
    transform = eval_transform(workspace.preprocessing)
    train, held_out = judging_splits(workspace)
    num_judging = min(len(held_out), settings.slim.images)
    num_estimating = settings.slim.bn_images or (0 if num_judging >= FEWEST_BY_THEMSELVES else INSTEAD)

    def batches(images: ImageSplit, count: int, most: int) -> list[Batch]:
        chosen = images.subset(in_mixed_order(_spread(len(images), count), most))
        # Statistics are averaged over batches, so no batch may be much smaller than the others.
        batch_size = math.ceil(len(chosen) / math.ceil(len(chosen) / most))
        held = eval_batches(chosen, transform, batch_size=batch_size, workers=settings.workers)
        return [(x_BCHW.to(memory_format=torch.channels_last), labels_B) for x_BCHW, labels_B in held]

    bn_batches = [x_BCHW for x_BCHW, _ in batches(train, num_estimating, 128)] if num_estimating else []
    return SupernetAccuracy(supernet, bn_batches, batches(held_out, num_judging, 250), settings.slim.metric)


def require_reachable(workspace: Workspace, table: LatencyTable) -> None:
    """Refuse a budget below the smallest network before anything is trained. Raises BudgetError."""
    smallest_ms = max(table.smallest.interval_ms[1], table.smallest.predicted_ms)
    for promise in promises(workspace):
        budget_ms, least_ms = promise.limit_ms(table.largest.measured_ms), promise.least_limit_ms(smallest_ms)
        if budget_ms < least_ms:
            raise BudgetError(
                f"The budget {promise.budget.text} ({budget_ms:.3f} ms) cannot be met: the smallest network of the "
                f"'{workspace.space.name}' space takes {smallest_ms:.3f} ms here. The least reachable budget is "
                f"{least_ms:.3f} ms ({100 * least_ms / table.largest.measured_ms:.0f}%); ask for that or more, "
                "or lower --resolution."
            )


def _spread(available: int, wanted: int) -> list[int]:
    """Indices spread evenly, so that every class is there when images are ordered by class."""
    return torch.linspace(0, available - 1, min(available, wanted)).round().long().tolist()


def in_mixed_order(indices: list[int], most: int) -> list[int]:
    """In an order that brings images of all classes into every batch of at most so many."""
    num_batches = math.ceil(len(indices) / most)
    return [index for first in range(num_batches) for index in indices[first::num_batches]]
