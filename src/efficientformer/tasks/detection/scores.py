"""The average precision of a network's boxes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from efficientformer.arch.parts import Grid
from efficientformer.data.boxes.joint import IGNORED
from efficientformer.errors import DataError
from efficientformer.tasks.detection.assignment import grid_of_frames
from efficientformer.tasks.detection.decoding import Detections, decode
from efficientformer.tasks.detection.precision import NAMES, Precisions, average_precisions, require_scoring
from efficientformer.tasks.finite_logits import finite_logits


@dataclass(frozen=True)
class BoxScores:
    """Average precisions in percent, of all boxes and by class, None for what no image shows.

    num_boxes, num_images_per_class: of each class. Sizes of objects are those in the input of the network.
    """

    precisions: Precisions
    num_boxes: tuple[int, ...]
    num_images_per_class: tuple[int, ...]
    num_images: int

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
        self._num_classes = 0

    @property
    def num_images(self) -> int:
        return len(self._images)

    def add(self, outputs_BAD: Tensor, boxes_BN5: Tensor) -> None:
        """Outputs of a batch, float32 on the CPU, and its labels, as the loader gives them."""
        grid = grid_of_frames(boxes_BN5)
        for detections, boxes_N5 in zip(decode(outputs_BAD, grid), boxes_BN5, strict=True):
            self.add_image(detections, boxes_N5, grid, outputs_BAD.shape[2] - 5)

    def add_image(self, detections: Detections, boxes_N5: Tensor, grid: Grid, num_classes: int) -> None:
        image_id, self._num_classes = len(self._images) + 1, num_classes
        self._images.append({"id": image_id, "height": grid[0], "width": grid[1]})
        for number, *box in boxes_N5[1:].tolist():
            if number >= 0 or number <= IGNORED:
                self._objects.append(_object(len(self._objects) + 1, image_id, number, box))
        columns = detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist()
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
            _counts(pairs, self._num_classes),
            _counts(set(pairs), self._num_classes),
            len(self._images),
        )


def _object(object_id: int, image_id: int, number: float, box: list[float]) -> dict[str, Any]:
    x, y, width, height = xywh(box)
    is_crowd = number < 0
    return {
        "id": object_id,
        "image_id": image_id,
        "category_id": int(IGNORED - number if is_crowd else number),
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": int(is_crowd),
    }


def xywh(box: list[float]) -> list[float]:
    """x1, y1, x2, y2 as COCO has boxes: x, y, width, height."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _counts(pairs: Iterable[tuple[int, int]], num_classes: int) -> tuple[int, ...]:
    counts = [0] * num_classes
    for _, number in pairs:
        counts[number] += 1
    return tuple(counts)


@torch.inference_mode()
def evaluate(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, on_batch: Callable[[int], None] | None = None
) -> BoxScores:
    """Score `model`, put into evaluation mode, on every batch.

    Raises TrainingError for outputs that are not finite, UsageError without faster-coco-eval, and `box_ap` of the
    scores DataError without boxes.
    """
    require_scoring()
    model.eval()
    count = BoxCount()
    for images_BCHW, boxes_BN5 in batches:
        count.add(finite_logits(model, images_BCHW), boxes_BN5)
        if on_batch is not None:
            on_batch(len(boxes_BN5))
    return count.scores()
