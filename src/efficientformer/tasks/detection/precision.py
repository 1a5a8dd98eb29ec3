"""Average precision of boxes and masks as COCO defines it, by faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from efficientformer.errors import UsageError

NAMES = ("box_ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""In the order of the first results of COCO's evaluation: over intersections over union of 50 to 95 %, at 50 and at
75 %, and of objects of less than 32 x 32 pixels, of up to 96 x 96, and of more."""
NOTHING = -1
"""COCO's score where there is no object."""


@dataclass(frozen=True)
class Precisions:
    """In percent; None where there is no object. `of_classes` is in the order of the category ids."""

    box_ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    of_classes: tuple[float | None, ...]


def average_precisions(
    truth: dict[str, Any], detections: Sequence[dict[str, Any]], overlap_of: Literal["bbox", "segm"] = "bbox"
) -> Precisions:
    """Scores of detections in the format of COCO results (image_id, category_id, score, and bbox or segmentation) by a
    COCO document with images, annotations and categories. Of each image and category the best 100 detections count.

    overlap_of: boxes or masks.

    Raises UsageError where faster-coco-eval is not installed.
    """
    coco, evaluation = _library()
    with contextlib.redirect_stdout(io.StringIO()):  # both print as they go
        objects = coco({**truth, "annotations": _copied(truth["annotations"])})
        found = objects.loadRes(_copied(detections)) if detections else coco({**truth, "annotations": []})
        run = evaluation(objects, found, iouType=overlap_of)
        run.params.catIds = sorted(category["id"] for category in truth["categories"])
        run.evaluate()
        run.accumulate()
        run.summarize()
    values = dict(zip(NAMES, map(_percent, run.stats[: len(NAMES)]), strict=True))
    # Axes: intersection over union, recall, category, area (the first is all), number of detections.
    precision_URC = np.asarray(run.eval["precision"])[:, :, :, 0, -1]
    of_classes = tuple(_mean(precision_URC[:, :, index]) for index in range(precision_URC.shape[2]))
    return Precisions(of_classes=of_classes, **values)


def _copied(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries to hand over: the library writes into them."""
    return [dict(entry) for entry in entries]


def require_scoring() -> None:
    """Raise UsageError where faster-coco-eval is not installed."""
    _library()


def _library() -> tuple[Any, Any]:
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UsageError(
            "Average precision of boxes needs faster-coco-eval: pip install 'efficientformer[detection]'."
        ) from error
    return COCO, COCOeval_faster


def _mean(precision_UR: np.ndarray) -> float | None:
    known = precision_UR[precision_UR > NOTHING]
    return _percent(float(known.mean())) if known.size else None


def _percent(share: float) -> float | None:
    return None if share <= NOTHING else 100 * float(share)
