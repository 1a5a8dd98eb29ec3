"""Masks of boxes as masks of pictures. Scores, predictions and drawings all have theirs from here."""

import math
from typing import Any

import numpy as np

from efficientformer.data.boxes.placement import Placement
from efficientformer.data.boxes.shapes import run_lengths_of
from efficientformer.models.heads.mask_rcnn import FACTS, MASK_SIDE

THRESHOLD = 0.5


def pasted_rows(rows_NX: np.ndarray, placement: Placement, size: tuple[int, int]) -> list[dict[str, Any]]:
    """The masks of rows of a Mask R-CNN head in the picture of this width and height, as run lengths."""
    boxes, masks_NSS = placement.uncut(rows_NX[:, :4]).tolist(), rows_NX[:, FACTS:].reshape(-1, MASK_SIDE, MASK_SIDE)
    return [run_lengths_of(pasted(mask_SS, box, size)) for mask_SS, box in zip(masks_NSS, boxes, strict=True)]


def pasted(mask_SS: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W), uint8 of 0 and 1, of a picture of this width and height.

    mask_SS: probabilities of the cells of the box, which may reach beyond the picture. A pixel belongs to the object if
    the cells around its center, weighted by their distances, give more than one half; beyond the box they are 0.
    """
    (x1, y1, x2, y2), (width, height) = box, size
    rows, across_RS = _weights(y1, y2, height, len(mask_SS))
    columns, down_CS = _weights(x1, x2, width, mask_SS.shape[1])
    whole_HW = np.zeros((height, width), dtype=np.uint8)
    whole_HW[rows, columns] = across_RS @ mask_SS.astype(np.float64) @ down_CS.T > THRESHOLD
    return whole_HW


def _weights(low: float, high: float, num_pixels: int, num_cells: int) -> tuple[slice, np.ndarray]:
    """The pixels of one axis that a box from `low` to `high` touches, and the weights (pixels, cells) of its cells in
    each of them."""
    first, last = max(0, math.floor(low)), min(num_pixels, math.ceil(high))
    places_R = (np.arange(first, max(first, last)) + 0.5 - low) / max(high - low, 1e-6) * num_cells - 0.5
    weights_RS = np.maximum(0, 1 - np.abs(places_R[:, None] - np.arange(num_cells)))
    return slice(first, max(first, last)), weights_RS
