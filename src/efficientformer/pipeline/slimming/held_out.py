"""The split of the training images for the search; it never sees validation images."""

import itertools

from efficientformer.data.dataset import ImageSplit, holdout, num_held_out, refuse_small_classes
from efficientformer.pipeline.run.workspace import Workspace


def search_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """Training images of the supernet, and held-out images that score subnets."""
    return _held_out(workspace, workspace.training_images)


def scoring_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """The same split without loading it into memory: only a few of these images are used."""
    return _held_out(workspace, workspace.dataset.train)


def _held_out(workspace: Workspace, images: ImageSplit) -> tuple[ImageSplit, ImageSplit]:
    return holdout(images, workspace.settings.supernet.held_out, workspace.settings.seed)


def require_enough_images(workspace: Workspace) -> None:
    """Raises DataError that names the classes with too few images to train on, to score the search and to validate."""
    dataset, needed, why = workspace.dataset, 2, "one to train on and one to score the search"
    counts = dataset.train.num_images_per_class()
    if dataset.is_held_out:
        fraction = workspace.settings.val_fraction
        needed = next(n for n in itertools.count(2) if n - num_held_out(n, fraction) >= needed)
        counts = [sum(pair) for pair in zip(counts, dataset.val.num_images_per_class(), strict=True)]
        why += f", after {fraction:.3g} of them for validation"
    refuse_small_classes(dict(zip(dataset.classes, counts, strict=True)), needed, why)
