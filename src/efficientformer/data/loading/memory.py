"""Small images in memory: decoding a large photo in every epoch costs far more than training on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from efficientformer.data.dataset import ImageSplit, Label
from efficientformer.data.images import Progress, map_in_threads
from efficientformer.data.large.undecoded import UndecodedSource

# Photos are rarely square; 4 to 3 is usual.
_USUAL_ASPECT = 4 / 3


@dataclass(frozen=True, eq=False)
class MemorySource:
    """Images as arrays of uint8, shape (height, width, 3)."""

    names: Sequence[str]
    pixels: Sequence[np.ndarray]

    def open(self, position: int, at_least: int | None = None) -> Image.Image:
        return Image.fromarray(self.pixels[position])

    def name(self, position: int) -> str:
        return self.names[position]


def hold_in_memory(
    split: ImageSplit, shorter_side: int, *, max_bytes: int = 2 * 2**30, progress: Progress | None = None
) -> ImageSplit:
    """The same images and names, decoded once and shrunk so that the shorter side has `shorter_side` pixels at most;
    labels that lie in the images with them.

    With twice the training resolution, random crops down to a quarter of the area stay sharp. A split that would take
    more than about `max_bytes` is returned unchanged, as is one whose images were not decoded before. Raises DataError
    when an image cannot be read.
    """
    if _is_undecoded(split) or len(split) * shorter_side**2 * 3 * _USUAL_ASPECT > max_bytes:
        return split

    def shrunk(index: int) -> np.ndarray:
        image = split.image(index, at_least=shorter_side)
        factor = shorter_side / min(image.size)
        if factor < 1:
            size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
            image = image.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(image)

    indices = range(len(split))
    pixels = list(map_in_threads(shrunk, indices, progress))
    labels = [_held(label, *image.shape[1::-1]) for label, image in zip(split.labels, pixels, strict=True)]
    return ImageSplit(MemorySource([split.name(i) for i in indices], pixels), split.classes, labels, [*indices])


def _is_undecoded(split: ImageSplit) -> bool:
    return isinstance(split.source, UndecodedSource) and not split.source.was_checked


def _held(label: Label, width: int, height: int) -> Label:
    return label if isinstance(label, int | tuple) else label.held(width, height)
