"""Shapes of objects: polygons and run lengths of COCO JSON as masks, and masks as run lengths.

By faster-coco-eval, whose masks are COCO's to the pixel.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.arch.resolution import Grid
from efficientformer.data.boxes.objects import Objects
from efficientformer.data.boxes.placement import Placement

THRESHOLD = 127


def mask_of(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W), uint8 of 0 and 1, of polygons or run lengths that were checked, in an image of this width and
    height."""
    from faster_coco_eval.core import mask  # which only tasks with masks need

    return mask.decode(mask.segmToRle(segmentation, *size))


def run_lengths_of(mask_HW: np.ndarray) -> dict[str, Any]:
    """A mask of 0 and 1 as compressed run lengths, `{"size": [height, width], "counts": text}`."""
    from faster_coco_eval.core import mask

    encoded = mask.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    counts = encoded["counts"]
    height, width = mask_HW.shape
    return {"size": [height, width], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def overlaps_with(masks: Sequence[dict[str, Any]], objects: Objects) -> np.ndarray:
    """Of N masks of an image, as run lengths, with its M objects (N, M): intersection over union; with a crowd the
    share of the mask that lies in it."""
    from faster_coco_eval.core import mask

    size = objects.width, objects.height
    shapes = [mask.segmToRle(instance.segmentation, *size) for instance in objects.instances]
    crowds = [int(instance.is_crowd) for instance in objects.instances]
    return np.reshape(mask.iou(list(masks), shapes, crowds), (len(masks), len(shapes)))


def placed_mask(segmentation: Any, size: tuple[int, int], placement: Placement, grid: Grid) -> np.ndarray:
    """The mask (H, W) in an input of `grid`, of a shape in a picture of this width and height that is placed there.

    Polygons are moved before they become cells, so that their sides stay exact; run lengths are resampled.
    """
    high, wide = grid
    if not isinstance(segmentation, dict):
        scales, shifts = (placement.scale_x, placement.scale_y), (placement.left, placement.top)
        moved = [(np.reshape(polygon, (-1, 2)) * scales + shifts).ravel().tolist() for polygon in segmentation]
        return mask_of(moved, (wide, high))
    across, down = 1 / placement.scale_x, 1 / placement.scale_y
    back = (across, 0, -placement.left * across, 0, down, -placement.top * down)
    picture = Image.fromarray(255 * mask_of(segmentation, size))
    moved = picture.transform((wide, high), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return (np.asarray(moved) > THRESHOLD).astype(np.uint8)
