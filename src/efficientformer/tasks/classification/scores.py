"""The accuracy of a classifier on images, and how far its confidence is from it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.tasks.classification.calibration import Calibration, calibration
from efficientformer.tasks.finite_logits import answers_of


@dataclass(frozen=True)
class Scores:
    """Accuracy of a classifier; percentages. `confusion[t][p]` counts images of class t that are classified as p.
    `negative_log_likelihood` is the mean over the images, in nats."""

    top1: float
    top5: float
    num_images: int
    confusion: tuple[tuple[int, ...], ...]
    calibration: Calibration
    negative_log_likelihood: float

    @property
    def primary(self) -> float:
        return self.top1

    @property
    def balanced_accuracy(self) -> float:
        """Mean top-1 of the classes that have images: their recall, whatever their sizes."""
        recalls = [100 * row[index] / sum(row) for index, row in enumerate(self.confusion) if sum(row)]
        return sum(recalls) / len(recalls)

    def to_record(self, classes: list[str]) -> dict[str, Any]:
        per_class = []
        for name, row, index in zip(classes, self.confusion, range(len(classes)), strict=True):
            total = sum(row)
            per_class.append({"name": name, "top1": 100 * row[index] / total if total else None, "num_images": total})
        return {
            "top1": self.top1,
            "top5": self.top5,
            "balanced_accuracy": self.balanced_accuracy,
            "calibration_error": self.calibration.error,
            "negative_log_likelihood": self.negative_log_likelihood,
            "num_images": self.num_images,
            "per_class": per_class,
            "confusion": [list(row) for row in self.confusion],
            "calibration": self.calibration.to_record(),
        }


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> Scores:
    """Score `model`, put into evaluation mode, on every batch. With fewer than five classes top-5 is 100 %.

    Raises TrainingError for logits that are not finite.
    """
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    in_top5 = 0
    confidences, rights, losses = list[Tensor](), list[Tensor](), list[float]()
    for logits_BK, labels_B in answers_of(model, batches, on_batch):
        best_BK = logits_BK.topk(min(5, num_classes), dim=1).indices
        in_top5 += int((best_BK == labels_B[:, None]).sum())
        confusion += torch.bincount(labels_B * num_classes + best_BK[:, 0], minlength=num_classes**2).view_as(confusion)
        # One by one, so that sums are the same in whatever batches the images come.
        confidences.append(logits_BK.double().softmax(dim=1).gather(1, best_BK[:, :1])[:, 0])
        rights.append(best_BK[:, 0] == labels_B)
        losses += functional.cross_entropy(logits_BK.double(), labels_B, reduction="none").tolist()
    num_images = int(confusion.sum())
    return Scores(
        top1=100 * int(confusion.diagonal().sum()) / num_images,
        top5=100 * in_top5 / num_images,
        num_images=num_images,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration=calibration(torch.cat(confidences), torch.cat(rights)),
        negative_log_likelihood=math.fsum(losses) / num_images,
    )
