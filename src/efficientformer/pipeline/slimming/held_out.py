"""The split of the training images for the search; it never sees validation images."""

from efficientformer.data.dataset import ImageSplit, holdout
from efficientformer.pipeline.run.workspace import Workspace


def search_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """Training images of the supernet, and held-out images that score subnets."""
    return _held_out(workspace, workspace.training_images)


def scoring_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """The same split without loading it into memory: only a few of these images are used."""
    return _held_out(workspace, workspace.dataset.train)


def _held_out(workspace: Workspace, images: ImageSplit) -> tuple[ImageSplit, ImageSplit]:
    return holdout(images, workspace.settings.supernet.held_out, workspace.settings.seed)
