"""Masks, boxes and names of objects on photos."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from efficientformer.data.boxes.shapes import mask_of
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.detection.drawing import color_of, draw_boxes
from efficientformer.tasks.detection.prediction import ObjectPrediction

SHARE = 0.5
"""Of the color in a mask."""


def draw_instances(photo: Image.Image, found: ObjectPrediction, lettering: Lettering | None = None) -> Image.Image:
    """The photo, enlarged or reduced, with the objects on it; the first ones lie on top."""
    return draw_boxes(draw_masks(photo, found), found.labelled(), lettering)


def draw_masks(photo: Image.Image, found: ObjectPrediction) -> Image.Image:
    """The photo with every object in the color of its class, which the photo shines through."""
    pixels_HW3 = np.asarray(photo.convert("RGB"), dtype=np.float32).copy()
    owners_HW = _owners(found, (photo.height, photo.width))
    for index, each in enumerate(found.objects):
        is_own_HW = owners_HW == index
        pixels_HW3[is_own_HW] += SHARE * (np.array(color_of(each.number), dtype=np.float32) - pixels_HW3[is_own_HW])
    return Image.fromarray(pixels_HW3.round().astype(np.uint8))


def _owners(found: ObjectPrediction, shape: Sequence[int]) -> np.ndarray:
    """Of every pixel (H, W) the best object that it belongs to, -1 for none: overlaps have one color."""
    owners_HW = np.full(tuple(shape), -1)
    for index in reversed(range(len(found.objects))):
        mask = found.objects[index].mask
        if mask is not None:
            owners_HW[mask_of(mask, (found.width, found.height)) > 0] = index
    return owners_HW
