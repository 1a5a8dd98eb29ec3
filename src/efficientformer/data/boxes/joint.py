"""From a picture with objects to what a detector is trained on: the input as bytes, and boxes in its pixels.

Training draws from the global generator of random, which the loader seeds.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from efficientformer.arch.resolution import Grid
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.boxes.objects import Objects
from efficientformer.data.boxes.placement import Placement, fitted, fitting_scale, placed, scaled
from efficientformer.data.transforms import Normalize, Pixels, Preprocessing

PADDING, FRAME, IGNORED = -1.0, -2.0, -3.0
"""In place of a class: PADDING in rows that fill up a batch; FRAME in the first row of every image, whose box is the
whole input; IGNORED minus the number of the class for crowds and for objects that are hardly in the picture, which
are neither learned nor scored."""
LEAST_VISIBLE, LEAST_PIXELS = 0.3, 2.0
"""Part of an object that has to be in the picture, and of its sides in pixels."""

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)

JointTransform = Callable[[Image.Image, Objects], tuple[Pixels, Tensor]]
"""An image in RGB and its objects to the input and boxes_N5: rows of class, x1, y1, x2, y2, the first of which is the
input."""


@dataclass(frozen=True)
class Strength:
    """How far training pictures are changed. zoom: least and greatest scale, of that which fits; stretch: greatest
    change of the aspect; color: of brightness, contrast and saturation, as a share."""

    zoom: tuple[float, float]
    stretch: float
    color: float


STRENGTHS: dict[Augmentation, Strength] = {
    "light": Strength((0.9, 1.1), 1.0, 0.0),
    "standard": Strength((0.6, 1.6), 1.15, 0.2),
    "strong": Strength((0.3, 2.0), 1.25, 0.4),
}


def eval_boxes_transform(preprocessing: Preprocessing) -> JointTransform:
    """The picture fitted into the middle of the input. Draws nothing."""
    return _Fitted(preprocessing)


def score_boxes_transform(preprocessing: Preprocessing) -> JointTransform:
    """The same, with what scores of the picture at its own size need: its placement as a second row (FRAME, scale_x,
    scale_y, left, top), and a sixth number of every row: of objects the area in the picture's pixels, of the first two
    rows its width and height."""
    return _Scored(preprocessing)


def train_boxes_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> JointTransform:
    """The training counterpart: zoomed in or out and placed anywhere, mirrored, its colors changed."""
    return _Augmented(AugmentedPicture(preprocessing, augmentation))


class _Fitted:
    def __init__(self, preprocessing: Preprocessing) -> None:
        self._grid, self._color = preprocessing.grid, preprocessing.mean_color
        self._normalize = Normalize(preprocessing)

    def __call__(self, image: Image.Image, objects: Objects) -> tuple[Pixels, Tensor]:
        placement = fitted(image.size, self._grid)
        pixels = self._normalize.later(placed(image, placement, self._grid, self._color))
        return pixels, _rows(objects, placement, image.size, self._grid)


class _Scored(_Fitted):
    def __call__(self, image: Image.Image, objects: Objects) -> tuple[Pixels, Tensor]:
        pixels, rows_N5 = super().__call__(image, objects)
        whole = fitted((objects.width, objects.height), self._grid)
        placement_15 = rows_N5.new_tensor([[FRAME, whole.scale_x, whole.scale_y, whole.left, whole.top]])
        areas = [objects.width, objects.height, *(instance.area for instance in objects.instances)]
        rows_N5 = torch.cat([rows_N5[:1], placement_15, rows_N5[1:]])
        return pixels, torch.cat([rows_N5, torch.tensor(areas, dtype=rows_N5.dtype)[:, None]], dim=1)


class _Augmented:
    def __init__(self, augment: "AugmentedPicture") -> None:
        self._augment = augment

    def __call__(self, image: Image.Image, objects: Objects) -> tuple[Pixels, Tensor]:
        pixels, placement, is_mirrored = self._augment(image)
        rows_N5 = _rows(objects, placement, image.size, self._augment.grid)
        if is_mirrored:
            rows_N5[:, [1, 3]] = self._augment.grid[1] - rows_N5[:, [3, 1]]
        return pixels, rows_N5


class AugmentedPicture:
    """A picture to train with: recolored, zoomed in or out and placed anywhere, perhaps mirrored.

    Called with an image, it returns the input, where the picture lies in it before it is mirrored, and whether it is.
    """

    def __init__(self, preprocessing: Preprocessing, augmentation: Augmentation) -> None:
        self.grid, self._color, self._strength = preprocessing.grid, preprocessing.mean_color, STRENGTHS[augmentation]
        self._normalize = Normalize(preprocessing)

    def __call__(self, image: Image.Image) -> tuple[Pixels, Placement, bool]:
        placement = self._drawn(image.size)
        picture = placed(_recolored(image, self._strength.color), placement, self.grid, self._color)
        is_mirrored = random.random() < 0.5
        if is_mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self._normalize.later(picture), placement, is_mirrored

    def _drawn(self, size: tuple[int, int]) -> Placement:
        """A placement in which the picture lies inside the input where it is smaller, and covers it where it is
        larger."""
        low, high = self._strength.zoom
        zoom = fitting_scale(size, self.grid) * _log_uniform(low, high)
        stretch = _log_uniform(1 / self._strength.stretch, self._strength.stretch) ** 0.5
        width, height = scaled(size, zoom * stretch, zoom / stretch)
        left, top = (_somewhere(free) for free in (self.grid[1] - width, self.grid[0] - height))
        return Placement(width / size[0], height / size[1], left, top)


def _log_uniform(low: float, high: float) -> float:
    return low * (high / low) ** random.random()


def _somewhere(free: int) -> int:
    return random.randint(min(free, 0), max(free, 0))


def _recolored(image: Image.Image, amount: float) -> Image.Image:
    """Brightness, contrast and saturation changed by up to `amount`, in random order."""
    for enhancer in random.sample(_ENHANCERS, len(_ENHANCERS)) if amount else ():
        image = enhancer(image).enhance(random.uniform(1 - amount, 1 + amount))
    return image


def _rows(objects: Objects, placement: Placement, size: tuple[int, int], grid: Grid) -> Tensor:
    """The frame of the input, and the objects that it shows. Of an object that is cut at the border the box is what is
    left of it; with less than `LEAST_VISIBLE` left, it is ignored."""
    high, wide = grid
    frame_15 = np.array([[FRAME, 0, 0, wide, high]], dtype=np.float32)
    instances = objects.instances
    if not instances:
        return torch.from_numpy(frame_15)
    seen = seen_boxes(objects, placement, size, grid)
    classes_N = np.array([instance.number for instance in instances], dtype=np.float32)
    is_ignored_N = seen.is_hardly_there | np.array([instance.is_crowd for instance in instances])
    classes_N = np.where(is_ignored_N, IGNORED - classes_N, classes_N)
    sides_N2 = seen.boxes[:, 2:] - seen.boxes[:, :2]
    rows_N5 = np.concatenate([classes_N[:, None], seen.boxes], axis=1)[sides_N2.min(axis=1) > 0]
    return torch.from_numpy(np.concatenate([frame_15, rows_N5.astype(np.float32)]))


@dataclass(frozen=True, eq=False)
class SeenBoxes:
    """What an input shows of objects: what is left of their boxes (N, 4) in its pixels, whether its border cuts them
    (N), and whether hardly anything of them is there (N)."""

    boxes: np.ndarray
    is_cut: np.ndarray
    is_hardly_there: np.ndarray


def seen_boxes(objects: Objects, placement: Placement, size: tuple[int, int], grid: Grid) -> SeenBoxes:
    """The boxes, at least one, of a picture that was opened at this width and height and placed in an input."""
    high, wide = grid
    # The picture may have been opened at a smaller size than that of its boxes.
    opened = np.array([size[0] / objects.width, size[1] / objects.height] * 2)
    boxes_N4 = placement.to_input(np.array([instance.box for instance in objects.instances]) * opened)
    cut_N4 = np.clip(boxes_N4, 0, np.array([wide, high, wide, high]))
    sides_N2 = cut_N4[:, 2:] - cut_N4[:, :2]
    shares_N = sides_N2.prod(axis=1) / (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1)
    is_cut_N = shares_N < 1 - 1e-6
    is_hardly_there_N = is_cut_N & ((shares_N < LEAST_VISIBLE) | (sides_N2.min(axis=1) < LEAST_PIXELS))
    return SeenBoxes(cut_N4, is_cut_N, is_hardly_there_N)


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Boxes of a batch (B, N, 5 or 6): the rows of every image, and `PADDING` behind them."""
    boxes_BN5 = torch.zeros(len(rows), max(map(len, rows)), rows[0].shape[1])
    boxes_BN5[:, :, 0] = PADDING
    for boxes_N5, of_image in zip(boxes_BN5, rows, strict=True):
        boxes_N5[: len(of_image)] = of_image
    return boxes_BN5
