"""The split of the training images for the search; it never sees validation images."""

from efficientformer.data.dataset import (
    TO_HOLD_OUT,
    TO_SEARCH,
    ImageSplit,
    fewest_to_search,
    holdout,
    refuse_small_classes,
)
from efficientformer.errors import UsageError
from efficientformer.pipeline.run.workspace import Workspace


def search_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """Training images of the supernet, and held-out images that score subnets."""
    return _held_out(workspace, workspace.training_images)


def scoring_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """The same split without loading it into memory: only a few of these images are used."""
    return _held_out(workspace, workspace.dataset.train)


def _held_out(workspace: Workspace, images: ImageSplit) -> tuple[ImageSplit, ImageSplit]:
    return holdout(images, workspace.settings.supernet.held_out, workspace.settings.seed)


def require_metric(workspace: Workspace) -> None:
    """Raises UsageError for a metric of slimming that the task of the images does not have."""
    words, metric = workspace.task.words, workspace.settings.slim.metric
    if metric not in words.metrics:
        choices = " or ".join(words.metrics)
        raise UsageError(f"slim.metric {metric} is no score of images with {words.labels}: use {choices}.")


def require_enough_images(workspace: Workspace) -> None:
    """Raises DataError that names the classes with too few images to train on, to score the search and to validate.
    Objects and areas of a class may all be in images that are held out."""
    dataset = workspace.dataset
    if workspace.task.words.is_dense:
        return
    counts = dataset.train.num_images_per_class()
    if not dataset.is_held_out:
        refuse_small_classes(dict(zip(dataset.classes, counts, strict=True)), 2, TO_HOLD_OUT)
        return
    counts = [sum(pair) for pair in zip(counts, dataset.val.num_images_per_class(), strict=True)]
    needed = fewest_to_search(workspace.settings.val_fraction)
    refuse_small_classes(dict(zip(dataset.classes, counts, strict=True)), needed, TO_SEARCH)
