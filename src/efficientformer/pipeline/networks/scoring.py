"""How an evaluation scores, where settings change it, and what it shows on its way."""

from torch import nn

from efficientformer.arch.resolution import Grid
from efficientformer.data.dataset import ImageDataset
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.settings import Settings
from efficientformer.tasks.kind import Batches, Scores, TaskKind
from efficientformer.tasks.semantic.kind import Semantic
from efficientformer.tasks.semantic.sliding import SlidingSemantic


def scoring_kind(kind: TaskKind, settings: Settings, grid: Grid) -> TaskKind:
    """The task as an evaluation scores it: with semantic.sliding in windows of the size `grid`."""
    return SlidingSemantic(grid) if isinstance(kind, Semantic) and settings.semantic.sliding else kind


def validation_scores(
    kind: TaskKind, model: nn.Module, batches: Batches, dataset: ImageDataset, console: RunConsole
) -> Scores:
    """Scores of a model on batches of the validation images of a set, with progress."""
    scored = 0
    with console.progress("evaluating") as progress:

        def count(num_images: int) -> None:
            nonlocal scored
            scored += num_images
            progress(scored, len(dataset.val), "")

        return kind.evaluate(model, batches, len(dataset.classes), on_batch=count)
