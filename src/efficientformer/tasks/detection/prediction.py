"""Find objects with an exported file, which contains its class names and preprocessing, and decodes its boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.boxes.joint import mean_color
from efficientformer.data.boxes.objects import Box, area_of
from efficientformer.data.boxes.placement import fitted, placed
from efficientformer.data.images import read_image
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.transforms import Normalize, Preprocessing
from efficientformer.errors import DataError, RecordError
from efficientformer.exporting.files import in_one_line
from efficientformer.tasks.classification.prediction import ImageInput, exported_about, open_session
from efficientformer.tasks.detection.decoding import DETECTIONS, NUMBERS
from efficientformer.tasks.detection.drawing import Labelled
from efficientformer.tasks.detection.scores import xywh

LEAST_SCORE = 0.3
"""Below it boxes are mostly mistakes. Average precision counts all."""


@dataclass(frozen=True)
class FoundObject:
    """A box in pixels of the image; score in percent."""

    name: str
    number: int
    score: float
    box: Box

    def to_json(self) -> dict[str, Any]:
        return {"class": self.name, "score": self.score, "box": list(self.box)}


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

    Raises RecordError when the file does not contain them, cannot be fed an image, or does not give boxes.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._session = path, open_session(path)
        self._input = ImageInput(path, self._session)
        about = exported_about(path, self._session.get_modelmeta().custom_metadata_map)
        self.classes = about["classes"]
        preprocessing = Preprocessing.from_json(about["preprocessing"])
        self._grid, self._color = preprocessing.grid, mean_color(preprocessing)
        self._input.check_size(self._grid)
        self._normalize = Normalize(preprocessing)
        outputs = {item.name: item.shape for item in self._session.get_outputs()}
        if DETECTIONS not in outputs or outputs[DETECTIONS][-1] != NUMBERS:
            given = ", ".join(f"{name} {shape}" for name, shape in outputs.items())
            raise RecordError(f"{path} gives {given}, not {DETECTIONS} in rows of {NUMBERS} numbers. Export it again.")

    def predict(self, image: Image.Image, file: str, least_score: float = LEAST_SCORE) -> ObjectPrediction:
        """Objects in one RGB image. Raises DataError for an image whose boxes are not finite, RecordError for a file
        that fails."""
        placement = fitted(image.size, self._grid)
        picture = placed(image, placement, self._grid, self._color)
        is_raw = self._input.dtype == np.uint8
        x_CHW = np.asarray(picture).transpose(2, 0, 1) if is_raw else self._normalize(picture).numpy()
        try:
            rows_1N6 = np.asarray(self._session.run([DETECTIONS], self._input.feed(x_CHW))[0], dtype=np.float64)
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise RecordError(f"{self._path} cannot be run on an image: {in_one_line(error)}.") from error
        if not np.isfinite(rows_1N6).all():
            raise DataError(f"{self._path.name} gives boxes for it that are not finite")
        rows_N6 = rows_1N6[0][(rows_1N6[0, :, 4] >= least_score) & (rows_1N6[0, :, 5] >= 0)]
        boxes = placement.to_picture(rows_N6[:, :4], image.size).tolist()
        columns = boxes, rows_N6[:, 4].tolist(), rows_N6[:, 5].astype(int).tolist()
        objects = tuple(self._found(*found) for found in zip(*columns, strict=True))
        return ObjectPrediction(file, *image.size, tuple(found for found in objects if area_of(found.box) > 0))

    def _found(self, box: Sequence[float], score: float, number: int) -> FoundObject:
        if number >= len(self.classes):
            raise RecordError(
                f"{self._path} finds the class {number}, but its metadata name {len(self.classes)}. Export it again."
            )
        x1, y1, x2, y2 = box
        return FoundObject(self.classes[number], number, 100 * score, (x1, y1, x2, y2))

    def predict_files(
        self, files: Sequence[Path], max_pixels: int = MAX_PIXELS, least_score: float = LEAST_SCORE
    ) -> tuple[list[ObjectPrediction], list[tuple[Path, str]]]:
        """Predictions of the readable files, and (file, reason) of the others."""
        predictions, skipped = [], []
        for file in files:
            try:
                image = read_image(file, max_pixels=max_pixels)
                predictions.append(self.predict(image, str(file), least_score))
            except DataError as error:
                skipped.append((file, str(error)))
        return predictions, skipped


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
            annotations.append({**place, **shape, "score": found.score / 100})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": images, "categories": categories, "annotations": annotations}
