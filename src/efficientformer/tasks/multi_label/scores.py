"""The average precision of a network on images of several labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from efficientformer.data.loading.loader import Batch
from efficientformer.errors import DataError
from efficientformer.tasks.finite_logits import answers_of


@dataclass(frozen=True)
class LabelScores:
    """Average precision by class, in percent; None for a class that no image has. `num_images` are those with it."""

    average_precisions: tuple[float | None, ...]
    num_images_per_class: tuple[int, ...]
    num_images: int

    @property
    def mean_ap(self) -> float:
        """Mean average precision of the classes that have images."""
        known = [value for value in self.average_precisions if value is not None]
        if not known:
            raise DataError("None of the images that score has a label, so there is no mean average precision.")
        return sum(known) / len(known)

    @property
    def primary(self) -> float:
        return self.mean_ap

    def to_record(self, classes: list[str]) -> dict[str, Any]:
        rows = zip(classes, self.average_precisions, self.num_images_per_class, strict=True)
        return {
            "mean_ap": self.mean_ap,
            "num_images": self.num_images,
            "per_class": [{"name": name, "ap": value, "num_images": count} for name, value, count in rows],
        }


def label_scores(logits_BK: Tensor, labels_BK: Tensor) -> LabelScores:
    """Scores of logits, by labels that are 1 for the classes of an image and 0 for others."""
    counts_K = labels_BK.sum(dim=0).long()
    precisions_K = average_precisions(logits_BK, labels_BK)
    values = [100 * value if count else None for value, count in zip(precisions_K.tolist(), counts_K, strict=True)]
    return LabelScores(tuple(values), tuple(counts_K.tolist()), len(labels_BK))


def average_precisions(logits_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """Average precision (K) of every class, from 0 to 1: over its images, the mean precision among all images that
    score at least as high. Images of equal scores count together, in whatever order they come. NaN without images."""
    num_images = len(logits_BK)
    scores_BK, order_BK = logits_BK.sort(dim=0, descending=True)
    sorted_BK = labels_BK.gather(0, order_BK).double()
    places_B1 = torch.arange(1, num_images + 1, dtype=torch.float64)[:, None]
    precision_BK = sorted_BK.cumsum(dim=0) / places_B1
    # Of equal scores the precision is that behind the last of them.
    is_last_BK = torch.ones_like(scores_BK, dtype=torch.bool)
    is_last_BK[:-1] = scores_BK[:-1] != scores_BK[1:]
    last_BK = torch.where(is_last_BK, torch.arange(num_images)[:, None], num_images)
    last_BK = last_BK.flip(0).cummin(dim=0).values.flip(0)
    return (sorted_BK * precision_BK.gather(0, last_BK)).sum(dim=0) / sorted_BK.sum(dim=0)


@torch.inference_mode()
def evaluate(
    model: nn.Module, batches: Iterable[Batch], *, on_batch: Callable[[int], None] | None = None
) -> LabelScores:
    """Score `model`, put into evaluation mode, on every batch.

    Raises TrainingError for logits that are not finite, and `mean_ap` of the scores DataError without labels.
    """
    logits, labels = zip(*answers_of(model, batches, on_batch), strict=True)
    return label_scores(torch.cat(logits), torch.cat(labels))
