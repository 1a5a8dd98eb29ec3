"""How far the confidence of a classifier is from its accuracy."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

NUM_BINS = 15


@dataclass(frozen=True)
class ConfidenceBin:
    """Images of similar confidence: their mean confidence and top-1, in percent; None without images."""

    confidence: float | None
    top1: float | None
    num_images: int


@dataclass(frozen=True)
class Calibration:
    """The bins of confidence, in order; bin k holds those above k / 15 and up to (k + 1) / 15."""

    bins: tuple[ConfidenceBin, ...]

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al., 2017), in percent: the mean over the images of the distance between
        confidence and top-1 of their bin."""
        distances = [
            row.num_images * abs(row.confidence - row.top1)
            for row in self.bins
            if row.confidence is not None and row.top1 is not None
        ]
        return math.fsum(distances) / sum(row.num_images for row in self.bins)

    def to_record(self) -> list[dict[str, Any]]:
        return [vars(row).copy() for row in self.bins]


def calibration(confidences_N: Tensor, is_right_N: Tensor) -> Calibration:
    """Bins of images by the probability of their likeliest class, in double precision, and whether it is the right one.

    The result does not depend on the order of the images.
    """
    places_N = (confidences_N * NUM_BINS).ceil().long().clamp(1, NUM_BINS) - 1
    return Calibration(
        tuple(_bin(confidences_N[places_N == place], is_right_N[places_N == place]) for place in range(NUM_BINS))
    )


def _bin(confidences: Tensor, is_right: Tensor) -> ConfidenceBin:
    num_images = len(confidences)
    if not num_images:
        return ConfidenceBin(None, None, 0)
    mean = math.fsum(confidences.tolist()) / num_images
    return ConfidenceBin(100 * mean, 100 * int(is_right.sum()) / num_images, num_images)
