"""A drawn image, and which images are drawn. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

LONGER_SIDE = 480
"""Of a drawing, in pixels."""


@dataclass(frozen=True)
class Example:
    """A photo with what a network found in it: one drawing that has the labels too, or two, the labels in the first.

    numbers: of the classes whose colors a legend explains.
    """

    drawings: tuple[Image.Image, ...]
    numbers: tuple[int, ...] = ()


def best_and_worst(scores: Sequence[float | None], most: int) -> tuple[list[int], list[int]]:
    """Indices of the best images, the best first, and of the worst, the worst first; at most so many of each. No image
    is both. Images without a score are neither, and of equal ones the first counts more."""
    ranked = sorted((score, index) for index, score in enumerate(scores) if score is not None)
    num_worst = min(most, len(ranked) // 2)
    best = sorted(ranked[num_worst:], key=lambda pair: (-pair[0], pair[1]))
    return [index for _, index in best[:most]], [index for _, index in ranked[:num_worst]]
