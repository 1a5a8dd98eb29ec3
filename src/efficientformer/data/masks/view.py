"""Images and their masks, transformed together: what a network is given of them.

The whole image is resized to the network's input, its aspect given up: so evaluation and prediction see it, and random
crops of the training have the same aspect. A mask is resized by the nearest pixel, never mixed.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from efficientformer.data.augmentation import Augmentation
from efficientformer.data.dataset import UNLABELLED
from efficientformer.data.loading.loader import View
from efficientformer.data.masks.mask import IGNORED
from efficientformer.data.transforms import Normalize, Pixels, Preprocessing, eval_transform
from efficientformer.errors import UsageError

SCALES: dict[str, tuple[float, float]] = {"light": (0.75, 1.5), "standard": (0.5, 2.0)}
"""Least and greatest random scale by augmentation."""
MOST_INPUTS = 16
"""Sides of the input that the side of a covering image has at most."""
PADDING = -1
"""Beside masks that are smaller than others of a batch."""


class MaskView(View):
    """The whole image and the whole mask at the size of the network's input: masks (B, H, W), int64."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__(eval_transform(preprocessing))
        self._grid = preprocessing.grid

    def example(self, image: Image.Image, label: Any) -> tuple[Tensor | Pixels, Tensor]:
        height, width = self._grid
        mask = Image.fromarray(_mask(image, label)).resize((width, height), Image.Resampling.NEAREST)
        return self._transform(image), _tensor(np.asarray(mask))

    def labels(self, labels: Sequence[Tensor], num_classes: int) -> Tensor:
        return torch.stack(list(labels))


class FullSizeMaskView(MaskView):
    """The same with masks as they are, for scores at their size; smaller ones have `PADDING` below and to the right."""

    def example(self, image: Image.Image, label: Any) -> tuple[Tensor | Pixels, Tensor]:
        return self._transform(image), _tensor(_mask(image, label))

    def labels(self, labels: Sequence[Tensor], num_classes: int) -> Tensor:
        height, width = (max(mask_HW.shape[side] for mask_HW in labels) for side in (0, 1))
        beside = [(0, width - mask_HW.shape[1], 0, height - mask_HW.shape[0]) for mask_HW in labels]
        return torch.stack([pad(mask_HW, sides, value=PADDING) for mask_HW, sides in zip(labels, beside, strict=True)])


class CoveringMaskView(FullSizeMaskView):
    """Masks as they are, and images that keep their aspect and cover the input: larger than it on one side."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__(preprocessing)
        self._normalize = Normalize(preprocessing)

    def example(self, image: Image.Image, label: Any) -> tuple[Tensor | Pixels, Tensor]:
        height, width = self._grid
        scale = max(height / image.height, width / image.width)
        # Beyond sixteen inputs the image is squeezed: a long thin one would take gigabytes.
        sides = zip(image.size, (width, height), strict=True)
        size = tuple(min(max(round(own * scale), side), MOST_INPUTS * side) for own, side in sides)
        seen = image if image.size == size else image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        return self._normalize.later(seen), _tensor(_mask(image, label))


class TrainMaskView(MaskView):
    """Random scale, crop and mirroring of an image and its mask, and with "standard" changes of color.

    The scale is that of the whole image at the size of the input: from 0.5 to 2, "light" 0.75 to 1.5. Around an image
    that is smaller than the input pixels have the mean color and are ignored. Raises UsageError for "strong", whose
    shearing and erasing masks do not follow.
    """

    def __init__(self, preprocessing: Preprocessing, augmentation: Augmentation) -> None:
        super().__init__(preprocessing)
        if augmentation not in SCALES:
            raise UsageError(
                f"augmentation {augmentation} is not for images with masks: use {' or '.join(SCALES)}, which scale, "
                "crop and mirror both alike."
            )
        self._scales = SCALES[augmentation]
        self._normalize = Normalize(preprocessing)
        self._mean = preprocessing.mean_color
        self._color = _color_changes() if augmentation == "standard" else None

    def example(self, image: Image.Image, label: Any) -> tuple[Tensor | Pixels, Tensor]:
        (height, width), mask = self._grid, Image.fromarray(_mask(image, label))
        scale = random.uniform(*self._scales)
        across, down = _window(width, scale), _window(height, scale)
        seen = Image.new("RGB", (width, height), self._mean)
        seen.paste(_cut(image, across, down, Image.Resampling.BICUBIC), (across.start, down.start))
        seen_mask = Image.new("L", (width, height), IGNORED)
        seen_mask.paste(_cut(mask, across, down, Image.Resampling.NEAREST), (across.start, down.start))
        if random.random() < 0.5:
            seen, seen_mask = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (seen, seen_mask))
        if self._color is not None:
            seen = self._color(seen)
        return self._normalize.later(seen), _tensor(np.asarray(seen_mask))


@dataclass(frozen=True)
class _Window:
    """What is seen of one side of an image: from `low` to `high`, shares of the side, on `size` pixels from `start`."""

    low: float
    high: float
    start: int
    size: int


def _window(side: int, scale: float) -> _Window:
    """A random window for an image that is scaled to `scale * side` pixels: a part of it, or the image and a border."""
    if scale >= 1:
        low = random.uniform(0, 1 - 1 / scale)
        return _Window(low, low + 1 / scale, 0, side)
    size = max(1, round(scale * side))
    return _Window(0.0, 1.0, random.randint(0, side - size), size)


def _cut(picture: Image.Image, across: _Window, down: _Window, resampling: Image.Resampling) -> Image.Image:
    width, height = picture.size
    box = (across.low * width, down.low * height, min(across.high, 1.0) * width, min(down.high, 1.0) * height)
    return picture.resize((across.size, down.size), resampling, box=box)


def _mask(image: Image.Image, label: Any) -> np.ndarray:
    """(H, W) uint8; of an image without a mask all pixels are ignored."""
    if label == UNLABELLED:
        return np.full((image.height, image.width), IGNORED, np.uint8)
    return label.pixels()


def _tensor(mask_HW: np.ndarray) -> Tensor:
    return torch.from_numpy(mask_HW.astype(np.int64))


def _color_changes() -> Callable[[Image.Image], Image.Image]:
    from torchvision.transforms import v2  # seconds to import

    return v2.ColorJitter(brightness=0.2, contrast=0.4, saturation=0.4)
