"""Scores of a network that gives every pixel a class, from one confusion matrix over all images."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.data.masks.mask import IGNORED
from efficientformer.data.masks.view import PADDING
from efficientformer.errors import DataError
from efficientformer.tasks.finite_logits import answers_of

MOST_NUMBERS = 2**24
"""Logits that are in memory at a time, beyond those of a network."""


@dataclass(frozen=True)
class SemanticScores:
    """Scores in percent. `confusion[t][p]` counts pixels of class t that are taken for p, ignored ones left out.

    num_images_per_class: images with pixels of the class.
    of_images: of every image the mean IoU of the classes that are in it; None where all pixels are ignored.

    The IoU of a class is the share of the pixels that are both of the class and taken for it among those that are
    either. A class that no pixel is of and none is taken for has none, and the mean leaves it out (as mmsegmentation
    does). Raises DataError for scores of images without a labelled pixel.
    """

    confusion: tuple[tuple[int, ...], ...]
    num_images_per_class: tuple[int, ...]
    num_images: int
    of_images: tuple[float | None, ...] = ()

    @property
    def num_pixels(self) -> tuple[int, ...]:
        return tuple(map(sum, self.confusion))

    @property
    def ious(self) -> tuple[float | None, ...]:
        taken = [sum(column) for column in zip(*self.confusion, strict=True)]
        rights = [row[index] for index, row in enumerate(self.confusion)]
        return tuple(
            _percent(right, own + other - right)
            for right, own, other in zip(rights, self.num_pixels, taken, strict=True)
        )

    @property
    def accuracies(self) -> tuple[float | None, ...]:
        return tuple(_percent(row[index], sum(row)) for index, row in enumerate(self.confusion))

    @property
    def miou(self) -> float:
        """Mean IoU of the classes."""
        return _mean(self.ious)

    @property
    def mean_accuracy(self) -> float:
        """Mean, over the classes with pixels, of the share of their pixels that are right."""
        return _mean(self.accuracies)

    @property
    def pixel_accuracy(self) -> float:
        """Share of all pixels that are right."""
        right = sum(row[index] for index, row in enumerate(self.confusion))
        return _mean((_percent(right, sum(self.num_pixels)),))

    @property
    def primary(self) -> float:
        return self.miou

    def to_record(self, classes: list[str]) -> dict[str, Any]:
        rows = zip(classes, self.ious, self.accuracies, self.num_images_per_class, self.num_pixels, strict=True)
        return {
            "miou": self.miou,
            "mean_accuracy": self.mean_accuracy,
            "pixel_accuracy": self.pixel_accuracy,
            "num_images": self.num_images,
            "per_class": [
                {"name": name, "iou": iou, "accuracy": accuracy, "num_images": images, "num_pixels": pixels}
                for name, iou, accuracy, images, pixels in rows
            ],
            "confusion": [list(row) for row in self.confusion],
        }


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    if not known:
        raise DataError("None of the pixels that score has a class, so there is no IoU. Add images with labels.")
    return sum(known) / len(known)


class Confusion:
    """Pixels by class and by the class that they are taken for, added up image by image."""

    def __init__(self, num_classes: int) -> None:
        self._counts_KK = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self._num_images_K = torch.zeros(num_classes, dtype=torch.int64)
        self._of_images = list[float | None]()

    def add(self, taken_HW: Tensor, mask_HW: Tensor) -> None:
        """taken_HW: numbers of classes. mask_HW: those that are right, or `IGNORED`; both on the CPU."""
        num_classes = len(self._counts_KK)
        is_scored_HW = mask_HW != IGNORED
        right_N, taken_N = mask_HW[is_scored_HW].long(), taken_HW[is_scored_HW].long()
        counts = torch.bincount(right_N * num_classes + taken_N, minlength=num_classes**2)
        counts_KK = counts.view(num_classes, num_classes)
        self._counts_KK += counts_KK
        self._num_images_K += counts_KK.sum(dim=1) > 0
        self._of_images.append(_image_score(counts_KK))

    @property
    def num_images(self) -> int:
        return len(self._of_images)

    def scores(self) -> SemanticScores:
        confusion = tuple(tuple(row) for row in self._counts_KK.tolist())
        return SemanticScores(confusion, tuple(self._num_images_K.tolist()), self.num_images, tuple(self._of_images))


def _image_score(counts_KK: Tensor) -> float | None:
    own_K, taken_K, right_K = counts_KK.sum(dim=1), counts_KK.sum(dim=0), counts_KK.diagonal()
    is_there_K = own_K > 0
    ious_N = right_K[is_there_K] / (own_K + taken_K - right_K)[is_there_K]
    return 100 * float(ious_N.double().mean()) if len(ious_N) else None


def own_part(mask_HW: Tensor) -> Tensor:
    """A mask of a batch without its padding, which is below and to the right."""
    is_own_HW = mask_HW != PADDING
    return mask_HW[: int(is_own_HW.any(dim=1).sum()), : int(is_own_HW.any(dim=0).sum())]


def taken_classes(logits_KHW: Tensor, height: int, width: int) -> Tensor:
    """The likeliest class of every pixel (height, width): logits of another size are brought to it, bilinearly.

    Row by row: the logits of a photo and of many classes take gigabytes.
    """
    num_classes, num_rows, num_columns = logits_KHW.shape
    if (num_rows, num_columns) == (height, width):
        return logits_KHW.argmax(dim=0)
    wide_KHW = functional.interpolate(logits_KHW[None], size=(num_rows, width), mode="bilinear")[0]
    places_H = ((torch.arange(height) + 0.5) * (num_rows / height) - 0.5).clamp(0, num_rows - 1)
    above_H = places_H.long()
    below_H = (above_H + 1).clamp(max=num_rows - 1)
    share_H1 = (places_H - above_H)[:, None]
    taken = []
    for rows in torch.arange(height).split(max(1, MOST_NUMBERS // (num_classes * width))):
        above_KHW, below_KHW = wide_KHW[:, above_H[rows]], wide_KHW[:, below_H[rows]]
        taken.append(torch.lerp(above_KHW, below_KHW, share_H1[rows]).argmax(dim=0))
    return torch.cat(taken)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> SemanticScores:
    """Score `model`, put into evaluation mode, on every batch, at the size of the masks.

    Raises TrainingError for logits that are not finite, and DataError where no pixel has a class.
    """
    confusion = Confusion(num_classes)
    for logits_BKHW, masks_BHW in answers_of(model, batches, on_batch):
        for logits_KHW, mask_HW in zip(logits_BKHW, masks_BHW, strict=True):
            own_HW = own_part(mask_HW)
            confusion.add(taken_classes(logits_KHW, *own_HW.shape), own_HW)
    return confusion.scores()
