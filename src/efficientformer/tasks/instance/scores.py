"""The average precision of a network's masks and boxes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efficientformer.data.boxes.instances import PlacedObjects
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import DataError
from efficientformer.models.heads.mask_rcnn import FACTS
from efficientformer.tasks.detection.precision import NAMES, Precisions, average_precisions, require_scoring
from efficientformer.tasks.detection.scores import counts, xywh
from efficientformer.tasks.finite_logits import answers_of
from efficientformer.tasks.instance.matching import mask_matches
from efficientformer.tasks.instance.pasting import pasted_rows


@dataclass(frozen=True)
class InstanceScores:
    """Average precisions of masks and of boxes in percent, of all objects and by class, None for what no image shows.

    num_objects, num_images_per_class: of each class.
    of_images: the quality of every image by its masks, see `matching.Matches`.
    """

    masks: Precisions
    boxes: Precisions
    num_objects: tuple[int, ...]
    num_images_per_class: tuple[int, ...]
    num_images: int
    of_images: tuple[float | None, ...] = ()

    @property
    def mask_ap(self) -> float:
        """The mean over the classes, and over intersections over union from 50 to 95 %."""
        if self.masks.box_ap is None:
            raise DataError("None of the images that score has an object, so there is no average precision.")
        return self.masks.box_ap

    @property
    def primary(self) -> float:
        return self.mask_ap

    def to_record(self, classes: list[str]) -> dict[str, Any]:
        rows = zip(
            *(classes, self.masks.of_classes, self.boxes.of_classes, self.num_images_per_class, self.num_objects),
            strict=True,
        )
        values = {f"mask_{name.removeprefix('box_')}": getattr(self.masks, name) for name in NAMES}
        values |= {name: getattr(self.boxes, name) for name in NAMES}
        return {
            "mask_ap": self.mask_ap,
            **{name: value for name, value in values.items() if value is not None},
            "num_images": self.num_images,
            "per_class": [
                {"name": name, "ap": of_masks, "box_ap": of_boxes, "num_images": num_images, "num_boxes": num_objects}
                for name, of_masks, of_boxes, num_images, num_objects in rows
            ],
        }


class InstanceCount:
    """Objects and what was found of them, image by image, as COCO JSON: `truth`, and results of `boxes` and `masks`."""

    def __init__(self, num_classes: int) -> None:
        self._classes = range(num_classes)
        self._images, self._objects = list[dict[str, Any]](), list[dict[str, Any]]()
        self.boxes, self.masks = list[dict[str, Any]](), list[dict[str, Any]]()
        self._of_images = list[float | None]()

    @property
    def truth(self) -> dict[str, Any]:
        categories = [{"id": number, "name": str(number)} for number in self._classes]
        return {"images": self._images, "annotations": self._objects, "categories": categories}

    def add(self, rows_BNX: Tensor, labels: Sequence[PlacedObjects]) -> None:
        """Outputs of a Mask R-CNN head for a batch, on the CPU, and its labels."""
        for rows_NX, placed in zip(rows_BNX.double().numpy(), labels, strict=True):
            self._add_objects(placed)
            self._add_found(rows_NX[rows_NX[:, FACTS - 1] >= 0], placed)

    def _add_objects(self, placed: PlacedObjects) -> None:
        objects, image_id = placed.objects, len(self._images) + 1
        self._images.append({"id": image_id, "width": objects.width, "height": objects.height})
        for instance in objects.instances:
            place = {"id": len(self._objects) + 1, "image_id": image_id, "category_id": instance.number}
            shape = {"bbox": xywh(list(instance.box)), "area": instance.area, "segmentation": instance.segmentation}
            self._objects.append({**place, **shape, "iscrowd": int(instance.is_crowd)})

    def _add_found(self, rows_NX: np.ndarray, placed: PlacedObjects) -> None:
        objects, placement = placed.objects, placed.placement
        size, scores_N, classes_N = (objects.width, objects.height), rows_NX[:, 4], rows_NX[:, 5].astype(int)
        masks, boxes = pasted_rows(rows_NX, placement, size), placement.to_picture(rows_NX[:, :4], size).tolist()
        self._of_images.append(mask_matches(masks, scores_N, classes_N, objects).quality)
        columns = scores_N.tolist(), classes_N.tolist(), boxes, masks
        for score, number, box, mask in zip(*columns, strict=True):
            of_object = {"image_id": len(self._images), "category_id": number, "score": score}
            self.boxes.append({**of_object, "bbox": xywh(box)})
            self.masks.append({**of_object, "segmentation": mask})

    def scores(self) -> InstanceScores:
        pairs = [(entry["image_id"], entry["category_id"]) for entry in self._objects if not entry["iscrowd"]]
        return InstanceScores(
            average_precisions(self.truth, self.masks, "segm"),
            average_precisions(self.truth, self.boxes),
            counts(pairs, len(self._classes)),
            counts(set(pairs), len(self._classes)),
            len(self._images),
            tuple(self._of_images),
        )


@torch.inference_mode()
def evaluate(
    model: nn.Module, batches: Iterable[Batch], num_classes: int, *, on_batch: Callable[[int], None] | None = None
) -> InstanceScores:
    """Score `model`, put into evaluation mode, on every batch. It may be an exported file.

    Raises TrainingError for outputs that are not finite, UsageError without faster-coco-eval, and `mask_ap` of the
    scores DataError without objects.
    """
    require_scoring()
    count = InstanceCount(num_classes)
    for rows_BNX, labels in answers_of(model, batches, on_batch):
        count.add(rows_BNX, labels)
    return count.scores()
