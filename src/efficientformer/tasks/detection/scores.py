"""The average precision of a network's boxes."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efficientformer.data.boxes.joint import IGNORED
from efficientformer.data.boxes.placement import Placement
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import DataError
from efficientformer.models.heads.decoding import DETECTIONS, Detections, decode, from_rows
from efficientformer.tasks.detection.assignment import grid_of_frames
from efficientformer.tasks.detection.matching import box_matches
from efficientformer.tasks.detection.precision import NAMES, Precisions, average_precisions, require_scoring
from efficientformer.tasks.exported import ExportedNetwork
from efficientformer.tasks.finite_logits import answers_of

NUM_WITH_AREAS = 6
"""Numbers of a row of labels that score pictures at their own size."""


@dataclass(frozen=True)
class BoxScores:
    """Average precisions in percent, of all boxes and by class, None for what no image shows.

    num_boxes, num_images_per_class: of each class.
    of_images: the quality of every image, see `matching.Matches`.
    """

    precisions: Precisions
    num_boxes: tuple[int, ...]
    num_images_per_class: tuple[int, ...]
    num_images: int
    of_images: tuple[float | None, ...] = ()

    @property
    def box_ap(self) -> float:
        """The mean over the classes, and over intersections over union from 50 to 95 %."""
        if self.precisions.box_ap is None:
            raise DataError("None of the images that score has a box, so there is no average precision.")
        return self.precisions.box_ap

    @property
    def primary(self) -> float:
        return self.box_ap

    def to_record(self, classes: list[str]) -> dict[str, Any]:
        rows = zip(classes, self.precisions.of_classes, self.num_images_per_class, self.num_boxes, strict=True)
        further = {name: value for name in NAMES[1:] if (value := getattr(self.precisions, name)) is not None}
        return {
            "box_ap": self.box_ap,
            **further,
            "num_images": self.num_images,
            "per_class": [
                {"name": name, "ap": value, "num_images": num_images, "num_boxes": num_boxes}
                for name, value, num_images, num_boxes in rows
            ],
        }


class BoxCount:
    """Average precision over batches: a `Count`. Until the last image is known it may still be anything."""

    def __init__(self) -> None:
        self._images, self._objects, self._detections = list[Any](), list[Any](), list[Any]()
        self._of_images = list[float | None]()
        self._num_classes = 0

    @property
    def num_images(self) -> int:
        return len(self._images)

    def add(self, logits_BK: Tensor, labels: Tensor) -> None:
        """Outputs (B, A, D) of a batch, float32 on the CPU, and its labels, as the loader gives them. Labels with areas
        are scored in pixels of the pictures at their own size."""
        self.add_detections(decode(logits_BK, grid_of_frames(labels)), labels, logits_BK.shape[2] - 5)

    def add_detections(self, found: Sequence[Detections], boxes_BN5: Tensor, num_classes: int) -> None:
        """The same for boxes that are decoded."""
        for detections, rows in zip(found, boxes_BN5, strict=True):
            to_picture, rows_N6, _ = in_picture(rows)
            boxes_N4 = to_picture(detections.boxes.double().numpy())
            self.add_image(boxes_N4, detections.scores, detections.classes, rows_N6, num_classes)

    def add_image(
        self, boxes_N4: np.ndarray, scores_N: Tensor, classes_N: Tensor, rows_N6: np.ndarray, num_classes: int
    ) -> None:
        """What was found in an image, and rows (class, x1, y1, x2, y2, area) of its objects, in the same pixels."""
        image_id, self._num_classes = len(self._images) + 1, num_classes
        self._images.append({"id": image_id})
        self._of_images.append(box_matches(boxes_N4, scores_N.numpy(), classes_N.numpy(), rows_N6).quality)
        for number, *box, area in rows_N6.tolist():
            self._objects.append(_object(len(self._objects) + 1, image_id, number, box, area))
        columns = boxes_N4.tolist(), scores_N.tolist(), classes_N.tolist()
        for box, score, number in zip(*columns, strict=True):
            found = {"image_id": image_id, "category_id": number, "bbox": xywh(box), "score": score}
            self._detections.append(found)

    def best(self, num_left: int) -> float:
        return 100.0 if num_left else self.scores().box_ap

    def scores(self) -> BoxScores:
        numbers = range(self._num_classes)
        categories = [{"id": number, "name": str(number)} for number in numbers]
        truth = {"images": self._images, "annotations": self._objects, "categories": categories}
        pairs = [(entry["image_id"], entry["category_id"]) for entry in self._objects if not entry["iscrowd"]]
        return BoxScores(
            average_precisions(truth, self._detections),
            counts(pairs, self._num_classes),
            counts(set(pairs), self._num_classes),
            len(self._images),
            tuple(self._of_images),
        )


def in_picture(rows: Tensor) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray, tuple[float, float]]:
    """What makes boxes of the picture from those of the input, rows (class, x1, y1, x2, y2, area) of its objects, and
    its width and height. Where labels do not say how the picture lies in the input, the input is the picture."""
    rows_NX = rows.double().numpy()
    is_object_N = (rows_NX[:, 0] >= 0) | (rows_NX[:, 0] <= IGNORED)
    objects_MX = rows_NX[is_object_N]
    if rows.shape[1] == NUM_WITH_AREAS:
        placement, size, areas_M = Placement(*rows_NX[1, 1:5]), rows_NX[:2, 5], objects_MX[:, 5]
    else:
        sides_M2 = objects_MX[:, 3:5] - objects_MX[:, 1:3]
        placement, size, areas_M = Placement(1.0, 1.0, 0, 0), rows_NX[0, 3:5], sides_M2.prod(axis=1)
    width, height = map(float, size)
    to_picture = partial(placement.to_picture, size=(width, height))
    rows_M6 = np.concatenate([objects_MX[:, :1], to_picture(objects_MX[:, 1:5]), areas_M[:, None]], axis=1)
    return to_picture, rows_M6, (width, height)


def _object(object_id: int, image_id: int, number: float, box: list[float], area: float) -> dict[str, Any]:
    is_crowd = number < 0
    return {
        "id": object_id,
        "image_id": image_id,
        "category_id": int(IGNORED - number if is_crowd else number),
        "bbox": xywh(box),
        "area": area,
        "iscrowd": int(is_crowd),
    }


def xywh(box: list[float]) -> list[float]:
    """x1, y1, x2, y2 as COCO has boxes: x, y, width, height."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def counts(pairs: Iterable[tuple[int, int]], num_classes: int) -> tuple[int, ...]:
    """How often each class stands in pairs of an image and a class."""
    found = Counter(number for _, number in pairs)
    return tuple(found[number] for number in range(num_classes))


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    *,
    on_batch: Callable[[int], None] | None = None,
) -> BoxScores:
    """Score `model`, put into evaluation mode, on every batch. It may be an exported detector, which gives boxes.

    Raises TrainingError for outputs that are not finite, UsageError without faster-coco-eval, and `box_ap` of the
    scores DataError without boxes.
    """
    require_scoring()
    count = BoxCount()
    for outputs, boxes_BN5 in answers_of(model, batches, on_batch):
        if isinstance(model, ExportedNetwork) and model.output == DETECTIONS:
            count.add_detections(from_rows(outputs), boxes_BN5, num_classes)
        else:
            count.add(outputs, boxes_BN5)
    return count.scores()
