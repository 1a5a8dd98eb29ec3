"""From a picture with shapes of objects to what an instance segmentation is trained and scored on.

Training draws from the global generator of random, which the loader seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from efficientformer.arch.resolution import Grid
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.boxes.joint import AugmentedPicture, seen_boxes
from efficientformer.data.boxes.objects import Box, Objects
from efficientformer.data.boxes.placement import Placement, fitted, placed
from efficientformer.data.boxes.shapes import placed_mask
from efficientformer.data.dataset import Label
from efficientformer.data.loading.loader import View
from efficientformer.data.transforms import Normalize, Pixels, Preprocessing


@dataclass(frozen=True)
class PlacedObjects:
    """The label of an image that is scored: its objects at its own size, and where it lies in the input."""

    objects: Objects
    placement: Placement


class TrainInstances(View):
    """Augmented pictures as `boxes.joint` has them, with masks. Labels are dictionaries of boxes (N, 4) in pixels of
    the input, labels (N,) from 1, and masks (N, H, W) of 0 and 1. Crowds, and objects that are hardly in the picture,
    are left out."""

    def __init__(self, preprocessing: Preprocessing, augmentation: Augmentation) -> None:
        self._augment = AugmentedPicture(preprocessing, augmentation)

    def example(self, image: Image.Image, label: Label) -> tuple[Pixels, dict[str, Tensor]]:
        objects = _objects(image, label)
        pixels, placement, is_mirrored = self._augment(image)
        return pixels, _labels(objects, placement, image.size, self._augment.grid, is_mirrored)

    def labels(self, labels: Sequence[dict[str, Tensor]], num_classes: int) -> list[dict[str, Tensor]]:
        return list(labels)


class ScoredInstances(View):
    """The picture fitted into the middle of the input; labels are `PlacedObjects`. Draws nothing."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._grid, self._color = preprocessing.grid, preprocessing.mean_color
        self._normalize = Normalize(preprocessing)

    def example(self, image: Image.Image, label: Label) -> tuple[Pixels, PlacedObjects]:
        objects, placement = _objects(image, label), fitted(image.size, self._grid)
        pixels = self._normalize.later(placed(image, placement, self._grid, self._color))
        return pixels, PlacedObjects(objects, fitted((objects.width, objects.height), self._grid))

    def labels(self, labels: Sequence[PlacedObjects], num_classes: int) -> list[PlacedObjects]:
        return list(labels)


def _objects(image: Image.Image, label: Label) -> Objects:
    return label if isinstance(label, Objects) else Objects(*image.size, (), 0)


def _labels(
    objects: Objects, placement: Placement, size: tuple[int, int], grid: Grid, is_mirrored: bool
) -> dict[str, Tensor]:
    """What an input shows of the objects of a picture that was opened at this width and height."""
    boxes, numbers, masks = list[Any](), list[int](), list[np.ndarray]()
    seen = seen_boxes(objects, placement, size, grid) if objects.instances else None
    # The annotations are in pixels of the picture at its own size.
    across, down = size[0] / objects.width, size[1] / objects.height
    whole = Placement(placement.scale_x * across, placement.scale_y * down, placement.left, placement.top)
    for index, instance in enumerate(objects.instances):
        assert seen is not None
        if instance.is_crowd or seen.is_hardly_there[index]:
            continue
        mask_HW = placed_mask(instance.segmentation, (objects.width, objects.height), whole, grid)
        box = _box(mask_HW, seen.boxes[index].tolist(), is_cut=bool(seen.is_cut[index]))
        if box is not None:
            boxes.append(box)
            numbers.append(instance.number + 1)
            masks.append(mask_HW)
    boxes_N4 = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks_NHW = torch.from_numpy(np.stack(masks)) if masks else torch.zeros((0, *grid), dtype=torch.uint8)
    if is_mirrored:
        boxes_N4[:, [0, 2]] = grid[1] - boxes_N4[:, [2, 0]]
        masks_NHW = masks_NHW.flip(2)
    return {"boxes": boxes_N4, "labels": torch.tensor(numbers, dtype=torch.int64), "masks": masks_NHW}


def _box(mask_HW: np.ndarray, box: list[float], *, is_cut: bool) -> Box | None:
    """The box of an object in the input, that of what is left of its mask where the border cuts it; None without any
    pixel."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not len(rows):
        return None
    x1, y1, x2, y2 = (float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0) if is_cut else box
    return x1, y1, x2, y2
