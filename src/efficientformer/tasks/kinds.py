"""The tasks by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, overload

from torch import nn

from efficientformer.errors import UsageError
from efficientformer.formats.values import TaskName
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.classification.scores import Scores
from efficientformer.tasks.detection.kind import BOXES
from efficientformer.tasks.detection.scores import BoxScores
from efficientformer.tasks.instance.kind import INSTANCES
from efficientformer.tasks.instance.scores import InstanceScores
from efficientformer.tasks.kind import Batches, SearchedTask, TaskKind
from efficientformer.tasks.layouts import dense_tasks_at
from efficientformer.tasks.multi_label.kind import LABEL_SETS
from efficientformer.tasks.multi_label.scores import LabelScores
from efficientformer.tasks.semantic.kind import SEMANTIC_KIND
from efficientformer.tasks.semantic.scores import SemanticScores

SEARCHED: dict[TaskName, SearchedTask] = {
    "classification": ONE_LABEL,
    "multi_label": LABEL_SETS,
    "detection": BOXES,
    "semantic": SEMANTIC_KIND,
}
KINDS: dict[TaskName, TaskKind] = {**SEARCHED, "instance": INSTANCES}
OnBatch = Callable[[int], None]


def searched(name: TaskName) -> SearchedTask:
    """Raises UsageError for a task whose networks are trained and evaluated only."""
    if name not in SEARCHED:
        raise UsageError(KINDS[name].words.unsearched)
    return SEARCHED[name]


def find_kind(path: Path) -> TaskKind:
    """The task that reads the images at a path. The set that it loads says which task they are for: a list may turn out
    to have several labels an image. Raises UsageError where labels of several tasks lie at the path."""
    found = dense_tasks_at(path)
    if len(found) > 1:
        raise UsageError(f"{path} has labels of several tasks. Choose one with --task {' or --task '.join(found)}.")
    return KINDS[found[0]] if found else ONE_LABEL


@overload
def evaluate(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    *,
    task: Literal["classification"] = "classification",
    on_batch: OnBatch | None = None,
) -> Scores: ...


@overload
def evaluate(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    *,
    task: Literal["multi_label"],
    on_batch: OnBatch | None = None,
) -> LabelScores: ...


@overload
def evaluate(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    *,
    task: Literal["semantic"],
    on_batch: OnBatch | None = None,
) -> SemanticScores: ...


@overload
def evaluate(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    *,
    task: Literal["detection"],
    on_batch: OnBatch | None = None,
) -> BoxScores: ...


@overload
def evaluate(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    *,
    task: Literal["instance"],
    on_batch: OnBatch | None = None,
) -> InstanceScores: ...


def evaluate(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    *,
    task: TaskName = "classification",
    on_batch: OnBatch | None = None,
) -> object:
    """Scores of `model`, put into evaluation mode, on every batch.

    batches: images (B, C, H, W) and labels: numbers (B,) of classes; of task multi_label, ones at the classes of each
        image (B, K); of task semantic, the number of the class of each pixel (B, H, W), 255 for none;
        of task detection, boxes as `data.boxes.joint` has them (B, N, 5); of task instance, a list of objects with
        shapes as `data.boxes.instances` has them.
    task: of several labels an image multi_label, of masks semantic, of boxes detection, of masks of objects instance.
    on_batch: called with the number of images of each batch.

    Raises TrainingError for logits that are not finite.
    """
    return KINDS[task].evaluate(model, batches, num_classes, on_batch=on_batch)
