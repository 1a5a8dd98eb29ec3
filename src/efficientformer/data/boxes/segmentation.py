"""Whether boxes, polygons and run lengths fit their image: what does not is one line with the field and the remedy."""

import json
from collections.abc import Mapping
from typing import Any

from efficientformer.data.boxes.objects import Box
from efficientformer.data.boxes.run_lengths import run_lengths
from efficientformer.reading import shown_path

ROUNDING = 1.0
"""Pixels that a box or a polygon may reach beyond its image: tools round. It is cut at the border."""


def inside(box: Box, size: tuple[int, int], field: str) -> tuple[Box, bool]:
    """The box, cut where rounding put it beyond an image of this width and height, and whether it was cut.

    Raises ValueError for a box without an area, and for one that lies outside.
    """
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"{field} is {x2 - x1:g} wide and {y2 - y1:g} high, so it holds nothing; correct or remove it")
    for name, low, high, side, limit in (("x", x1, x2, "wide", size[0]), ("y", y1, y2, "high", size[1])):
        if low < -ROUNDING or high > limit + ROUNDING:
            raise ValueError(
                f"{field} reaches from {name} {low:g} to {high:g}, but the image is {limit} {side}; correct the box or "
                "the size of the image"
            )
    cut = max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1]))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        raise ValueError(f"{field} lies on the border of the image and holds nothing of it; correct or remove it")
    return cut, cut != box


def check_segmentation(segmentation: Any, size: tuple[int, int]) -> None:
    """Raises ValueError unless it is polygons of three points or more, or run lengths of the image's size."""
    if isinstance(segmentation, dict):
        _check_run_lengths(segmentation, size)
        return
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise ValueError("segmentation must be a list of polygons or run lengths; correct or remove it")
    for number, polygon in enumerate(segmentation):
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in polygon):
            raise ValueError(f"segmentation.{number} must be numbers x, y, x, y, ...; correct or remove it")
        if len(polygon) % 2 or len(polygon) < 6:
            points = f"{len(polygon) / 2:g} points"
            raise ValueError(f"segmentation.{number} has {points}, and a polygon needs 3 or more; correct or remove it")


def _check_run_lengths(segmentation: Mapping[str, Any], size: tuple[int, int]) -> None:
    width, height = size
    if segmentation.get("size") != [height, width]:
        given = shown_path(json.dumps(segmentation.get("size")))
        raise ValueError(f"segmentation.size is {given}, not the image's [{height}, {width}]; correct or remove it")
    try:
        covered = sum(run_lengths(segmentation.get("counts")))
    except ValueError as error:
        raise ValueError(f"segmentation.{error}; correct or remove it") from error
    if covered != width * height:
        raise ValueError(
            f"segmentation.counts are of {covered:,} pixels, and the image has {width * height:,}; correct or remove it"
        )


def require_mask(segmentation: Any, size: tuple[int, int]) -> None:
    """Raises ValueError unless there is a shape, of one pixel or more, that lies in an image of this width and height.
    It was checked by `check_segmentation`."""
    if not segmentation:
        raise ValueError(
            "segmentation is missing, and --task instance needs polygons or run lengths; add it, or use --task "
            "detection"
        )
    if isinstance(segmentation, dict):
        if not sum(run_lengths(segmentation["counts"])[1::2]):
            raise ValueError("segmentation.counts have no pixel of the object; correct or remove it")
        return
    for number, polygon in enumerate(segmentation):
        xs, ys = polygon[::2], polygon[1::2]
        inside((min(xs), min(ys), max(xs), max(ys)), size, f"segmentation.{number}")
