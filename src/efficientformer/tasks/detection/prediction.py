"""Find objects with an exported file, which contains its class names and preprocessing, and decodes its boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.boxes.objects import Box, area_of
from efficientformer.data.boxes.placement import Placement, fitted, placed
from efficientformer.data.boxes.run_lengths import run_lengths
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.transforms import Normalize
from efficientformer.errors import DataError, RecordError
from efficientformer.models.heads.decoding import DETECTIONS, NUMBERS
from efficientformer.tasks.detection.drawing import Labelled
from efficientformer.tasks.detection.matching import LEAST_SCORE
from efficientformer.tasks.detection.scores import xywh
from efficientformer.tasks.exported_file import ExportedFile, opened, predict_readable


@dataclass(frozen=True)
class FoundObject:
    """A box in pixels of the image; score in percent. mask: of an instance, run lengths of COCO JSON."""

    name: str
    number: int
    score: float
    box: Box
    mask: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        content = {"class": self.name, "score": self.score, "box": list(self.box)}
        return content if self.mask is None else {**content, "mask": self.mask}


@dataclass(frozen=True)
class ObjectPrediction:
    """The objects that were found in one image, best first."""

    file: str
    width: int
    height: int
    objects: tuple[FoundObject, ...]

    def to_json(self) -> dict[str, Any]:
        size = {"width": self.width, "height": self.height}
        return {"file": self.file, **size, "objects": [found.to_json() for found in self.objects]}

    def labelled(self) -> list[Labelled]:
        """What to draw."""
        return [Labelled(found.box, found.number, f"{found.name} {found.score:.0f} %") for found in self.objects]


class BoxPredictor:
    """An exported detector with its class names.

    model: its file, open or not. `output` and `numbers` are what it gives for every object: x1, y1, x2, y2, score,
    class, and perhaps more.

    Raises RecordError when the file does not contain them, cannot be fed an image, or does not give boxes.
    """

    output, numbers = DETECTIONS, NUMBERS

    def __init__(self, model: Path | ExportedFile) -> None:
        self._file = file = opened(model)
        file.require_images()
        preprocessing = file.preprocessing
        self._grid, self._color = preprocessing.grid, preprocessing.mean_color
        self._normalize = Normalize(preprocessing)
        self.classes, outputs = file.about["classes"], file.outputs
        if self.output not in outputs or outputs[self.output][-1] != self.numbers:
            raise RecordError(
                f"{file.path} gives {file.outputs_in_words}, not {self.output} in rows of {self.numbers} numbers. "
                "Export it again."
            )

    def predict(self, image: Image.Image, file: str, least_score: float = LEAST_SCORE) -> ObjectPrediction:
        """Objects in one RGB image. Raises DataError for an image whose boxes are not finite, RecordError for a file
        that fails."""
        placement = fitted(image.size, self._grid)
        picture = placed(image, placement, self._grid, self._color)
        is_raw = self._file.input.dtype == np.uint8
        x_CHW = np.asarray(picture).transpose(2, 0, 1) if is_raw else self._normalize(picture).numpy()
        rows_1NX = self._file.run(self.output, x_CHW).astype(np.float64)
        if not np.isfinite(rows_1NX).all():
            raise DataError(f"{self._file.path.name} gives boxes for it that are not finite")
        rows_NX = rows_1NX[0][(rows_1NX[0, :, 4] >= least_score) & (rows_1NX[0, :, 5] >= 0)]
        boxes = placement.to_picture(rows_NX[:, :4], image.size).tolist()
        objects = tuple(self._found(row_X, box) for row_X, box in zip(rows_NX, boxes, strict=True))
        masks = self._masks(rows_NX, placement, image.size)
        found = tuple(replace(each, mask=mask) for each, mask in zip(objects, masks, strict=True))
        return ObjectPrediction(file, *image.size, tuple(each for each in found if area_of(each.box) > 0))

    def _masks(
        self, rows_NX: np.ndarray, placement: Placement, size: tuple[int, int]
    ) -> Sequence[dict[str, Any] | None]:
        """Of every row the mask in the picture of this width and height, as run lengths."""
        return [None] * len(rows_NX)

    def _found(self, row_X: np.ndarray, box: Sequence[float]) -> FoundObject:
        score, number = float(row_X[4]), int(row_X[5])
        if number >= len(self.classes):
            raise RecordError(
                f"{self._file.path} finds the class {number}, but its metadata name {len(self.classes)}. Export it "
                "again."
            )
        x1, y1, x2, y2 = box
        return FoundObject(self.classes[number], number, 100 * score, (x1, y1, x2, y2))

    def predict_files(
        self, files: Sequence[Path], max_pixels: int = MAX_PIXELS, least_score: float = LEAST_SCORE
    ) -> tuple[list[ObjectPrediction], list[tuple[Path, str]]]:
        """Predictions of the readable files, and (file, reason) of the others."""
        return predict_readable(files, partial(self.predict, least_score=least_score), max_pixels)


def coco_document(predictions: Sequence[ObjectPrediction], classes: Sequence[str]) -> dict[str, Any]:
    """Predictions as COCO JSON with images, categories and annotations that have scores: annotation tools read it, and
    its annotations are results for COCO's evaluation of its images."""
    images, annotations = [], []
    for image_id, prediction in enumerate(predictions, start=1):
        size = {"width": prediction.width, "height": prediction.height}
        images.append({"id": image_id, "file_name": prediction.file, **size})
        for found in prediction.objects:
            place = {"id": len(annotations) + 1, "image_id": image_id, "category_id": found.number + 1}
            shape = {"bbox": xywh(list(found.box)), "area": area_of(found.box), "iscrowd": 0}
            if found.mask is not None:
                shape |= {"area": sum(run_lengths(found.mask["counts"])[1::2]), "segmentation": found.mask}
            annotations.append({**place, **shape, "score": found.score / 100})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": images, "categories": categories, "annotations": annotations}
