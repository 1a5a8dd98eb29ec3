"""Which tasks draw examples, and how."""

from collections.abc import Sequence

import torch
from torch import nn

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loading.loader import eval_batches
from efficientformer.data.transforms import Preprocessing
from efficientformer.tasks.detection.scores import BoxScores
from efficientformer.tasks.examples.boxes import draw_found_boxes
from efficientformer.tasks.examples.example import Example
from efficientformer.tasks.examples.instances import draw_found_masks
from efficientformer.tasks.examples.masks import draw_masks
from efficientformer.tasks.instance.kind import Instances
from efficientformer.tasks.instance.scores import InstanceScores
from efficientformer.tasks.kind import Scores, TaskKind
from efficientformer.tasks.semantic.kind import Semantic
from efficientformer.tasks.semantic.scores import SemanticScores


def scores_of_images(scores: Scores) -> tuple[float | None, ...]:
    """The score of every image by which examples are chosen; none of a task that draws none."""
    return scores.of_images if isinstance(scores, SemanticScores | BoxScores | InstanceScores) else ()


@torch.inference_mode()
def draw_examples(
    task: TaskKind, model: nn.Module, images: ImageSplit, preprocessing: Preprocessing, indices: Sequence[int]
) -> list[Example]:
    """Images of a split with what a model, put into evaluation mode, finds in them, as the task scores it."""
    if not indices:
        return []
    model.eval()
    chosen = images.subset(indices)
    batches = eval_batches(chosen, task.score_view(preprocessing), batch_size=1)
    photos = (chosen.image(index) for index in range(len(chosen)))
    if isinstance(task, Semantic):
        scored = task.scored(model)
        return [draw_masks(scored, photo, batch) for photo, batch in zip(photos, batches, strict=True)]
    draw, classes = draw_found_masks if isinstance(task, Instances) else draw_found_boxes, images.classes
    return [draw(model, photo, batch, classes) for photo, batch in zip(photos, batches, strict=True)]
