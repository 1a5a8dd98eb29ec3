"""The parts of the training images that the search may see."""

from efficientformer.data.dataset import ImageSplit, holdout
from efficientformer.pipeline.run.workspace import Workspace


def search_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """Training images of the supernet, and those held out to judge subnets; validation images stay untouched."""
    return _held_out(workspace, workspace.training_images)


def judging_splits(workspace: Workspace) -> tuple[ImageSplit, ImageSplit]:
    """The same images where they lie: few of them judge, and for these the others need not be read."""
    return _held_out(workspace, workspace.dataset.train)


def _held_out(workspace: Workspace, images: ImageSplit) -> tuple[ImageSplit, ImageSplit]:
    return holdout(images, workspace.settings.supernet.held_out, workspace.settings.seed)
