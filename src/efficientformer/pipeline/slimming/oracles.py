"""The two oracles of slimming, from a run's records: the supernet that scores subnets, and the table's bounds."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from efficientformer import __version__
from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loading.loader import CPU, Batch, Images, KeptBatch, kept_batches
from efficientformer.errors import BudgetError, RecordError
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_network
from efficientformer.models.weights_file import read_tensors, read_weights_metadata, write_weights_file
from efficientformer.pipeline.run.inputs import image_digests, supernet_digests
from efficientformer.pipeline.run.plan import SUPERNET
from efficientformer.pipeline.run.stamps import chosen
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import scoring_splits
from efficientformer.pipeline.slimming.promise import promises
from efficientformer.reading import checked, parse_json
from efficientformer.records import digest
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.parent import prepare_to_cut
from efficientformer.search.scoring.accuracy import SupernetAccuracy, extract_network
from efficientformer.search.scoring.channels import sort_ancestor
from efficientformer.search.scoring.hidden_means import expect_means
from efficientformer.search.scoring.permutation import permute_stage
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.training.loop import seed_initial_weights

FEWEST_FOR_BATCH_NORM, TRAINING_IMAGES = 50, 512
"""Fewer scoring images than this estimate batch norm too badly: this number of training images replaces them. By the
same number the importance of channels is measured."""
FEWEST_DENSE = 16
"""The same for masks and boxes, where every image has thousands of cells. Of a parent with 40.9 % box AP on 45 images,
batches of 8 find 38.2 %, of 16 40.7 % and 512 training images 40.8 %."""
ORDERS = "orders"
"""Of the channels of every stage, compared with those of the supernet, in the metadata of a version's file."""


def build_supernet(workspace: Workspace) -> Ancestor:
    """The supernet of this run with fresh weights, reproducible from the seed."""
    settings, space = workspace.settings, workspace.space
    seed_initial_weights(settings.seed)
    resolution, num_classes = settings.resolution, len(workspace.dataset.classes)
    if space.is_v2:
        # A parent has one batch norm for its one width.
        batch_norm = settings.supernet.batch_norm if settings.parent.init is None else "shared"
        return SlimmableNetwork(space, resolution=resolution, num_classes=num_classes, batch_norm=batch_norm)
    return Supernet(space, resolution=resolution, num_classes=num_classes)


def load_supernet(workspace: Workspace, version: str | None = None) -> Ancestor:
    """The trained supernet of this run, from which every subnet is cut.

    version: a name of weights that slimming trained on its way; by default the supernet as it was trained.

    Raises RecordError where that version is gone.
    """
    SUPERNET.require(workspace)
    if version is None:
        return with_weights(workspace, supernet_weights(workspace))
    return with_weights(workspace, read_tensors(_version_file(workspace, version)))


def load_parent(workspace: Workspace, version: str | None = None) -> Network:
    """The parent of this run, with its channels in the order of those of the networks cut from that version."""
    largest = Subnet.largest(workspace.space)
    if workspace.settings.parent.is_elastic:  # it was sorted before smaller networks were trained in its weights
        parent = load_network(workspace.run_dir.parent_weights)
    else:
        parent = extract_network(load_supernet(workspace), largest)
    if version is not None:
        about = read_weights_metadata(_version_file(workspace, version))
        for stage, order in enumerate(checked(parse_json(about.get(ORDERS, "[]")), list[list[int]])):
            permute_stage(parent, stage, order)
    return parent


def _version_file(workspace: Workspace, version: str) -> Path:
    path = workspace.run_dir.recovered(version)
    if not path.exists():
        raise RecordError(
            f"{path}, the weights after a step of slimming, is missing. Delete {workspace.run_dir.trace} and run "
            "'efficientformer slim' to make it again."
        )
    return path


def supernet_weights(workspace: Workspace) -> Mapping[str, Tensor]:
    """Weights of the trained supernet, with its channels in the order of slim.channels.

    They are sorted once and kept in the run: computed anew on another machine, channels of nearly equal importance
    could change places between two scores.
    """
    run_dir = workspace.run_dir
    if workspace.settings.slim.channels == "first" or workspace.settings.parent.is_elastic:
        return read_tensors(run_dir.supernet_weights)
    inputs = supernet_digests(workspace) | image_digests(workspace)
    about = {"of": digest([inputs, chosen(workspace.settings, "seed", "supernet.held_out"), __version__])}
    if (kept := _kept_weights(run_dir.sorted_supernet, about)) is not None:
        return kept
    supernet = with_weights(workspace, read_tensors(run_dir.supernet_weights))
    batches = importance_batches(workspace)
    if workspace.settings.parent.init is None:
        sort_ancestor(supernet, batches, kind=workspace.searched_task)
    else:
        prepare_to_cut(supernet, batches, Subnet.largest(workspace.space), workspace.searched_task)
    write_weights_file(run_dir.sorted_supernet, supernet.state_dict(), about)
    return read_tensors(run_dir.sorted_supernet)


def _kept_weights(path: Path, about: Mapping[str, str]) -> Mapping[str, Tensor] | None:
    """The weights of a file with this metadata; None where it is of others, damaged or not there."""
    try:
        return read_tensors(path) if read_weights_metadata(path) == about else None
    except RecordError:
        return None


def with_weights(workspace: Workspace, weights: Mapping[str, Any]) -> Ancestor:
    """The supernet of this run with these weights."""
    # On the meta device: initializing weights that are about to be overwritten takes longer than loading them.
    with torch.device("meta"):
        supernet = build_supernet(workspace)
        expect_means(supernet, weights)
    supernet.load_state_dict(weights, assign=True)
    return supernet.to(workspace.training_device)


def accuracy_oracle(workspace: Workspace, supernet: Ancestor) -> SupernetAccuracy:
    """Scores subnets on images that the supernet was not trained on."""
    settings = workspace.settings
    _, held_out = scoring_splits(workspace)
    num_scoring = min(len(held_out), settings.slim.images)
    fewest = FEWEST_DENSE if workspace.task.words.is_dense else FEWEST_FOR_BATCH_NORM
    num_estimating = settings.slim.bn_images or (0 if num_scoring >= fewest else TRAINING_IMAGES)
    bn_batches = estimating_images(workspace, num_estimating) if num_estimating else []
    scoring = _batches(workspace, held_out, num_scoring, workspace.task.eval_batch_size)
    return SupernetAccuracy(supernet, bn_batches, scoring, workspace.searched_task, settings.slim.metric)


def estimating_images(workspace: Workspace, count: int = TRAINING_IMAGES) -> list[Images]:
    """Batches of training images that batch norm is estimated from, `count` images in all."""
    return [images for images, _ in _training_batches(workspace, count)]


def importance_batches(workspace: Workspace) -> list[Batch]:
    """Batches of training images, with labels, that the importance of channels is measured on."""
    return [Batch(images.to(CPU), labels) for images, labels in _training_batches(workspace, TRAINING_IMAGES)]


def _training_batches(workspace: Workspace, count: int) -> list[KeptBatch]:
    train, _ = scoring_splits(workspace)
    return _batches(workspace, train, count, min(128, workspace.task.eval_batch_size))


def _batches(workspace: Workspace, images: ImageSplit, count: int, most: int) -> list[KeptBatch]:
    """Batches of at most `most` images, `count` of them in all, with images of all classes in each."""
    picked = images.subset(in_mixed_order(_spread(len(images), count), most))
    # Statistics are averaged over batches, so no batch may be much smaller than the others.
    batch_size = math.ceil(len(picked) / math.ceil(len(picked) / most))
    view, workers = workspace.searched_task.eval_view(workspace.preprocessing), workspace.settings.workers
    return kept_batches(picked, view, batch_size=batch_size, workers=workers)


def require_reachable(workspace: Workspace, table: LatencyTable) -> None:
    """Raises BudgetError for a budget below the smallest network, before anything is trained."""
    smallest_ms = max(table.smallest.interval_ms[1], table.smallest.predicted_ms)
    for promise in promises(workspace):
        budget_ms, least_ms = promise.limit_ms(table.largest.measured_ms), promise.least_limit_ms(smallest_ms)
        if budget_ms < least_ms:
            raise BudgetError(
                f"The budget {promise.budget.text} ({budget_ms:.3f} ms) cannot be met: the smallest network of the "
                f"'{workspace.space.name}' space takes {smallest_ms:.3f} ms here. The smallest reachable budget is "
                f"{least_ms:.3f} ms ({100 * least_ms / table.largest.measured_ms:.0f}%); ask for that or more, "
                "or lower --resolution."
            )


def _spread(available: int, wanted: int) -> list[int]:
    """`wanted` indices at even distances, which cover every class if images are ordered by class."""
    return torch.linspace(0, available - 1, min(available, wanted)).round().long().tolist()


def in_mixed_order(indices: list[int], most: int) -> list[int]:
    """The indices in an order that has images of all classes in every batch of at most `most`."""
    num_batches = math.ceil(len(indices) / most)
    return [index for first in range(num_batches) for index in indices[first::num_batches]]
