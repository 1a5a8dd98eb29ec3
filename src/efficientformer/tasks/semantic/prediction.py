"""Give every pixel of photos a class with an exported file, which contains its class names and preprocessing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from efficientformer.errors import DataError, RecordError
from efficientformer.tasks.exported_file import ExportedFile, opened
from efficientformer.tasks.semantic.scores import taken_classes

OUTPUT, NUM_AXES = "logits", 4


@dataclass(frozen=True)
class Segment:
    """A class and its share of an image's pixels, in percent."""

    name: str
    number: int
    share: float


@dataclass(frozen=True)
class SegmentedImage:
    """The class of every pixel of one image, (H, W) uint8, and the classes by their share, the largest first."""

    file: str
    mask: np.ndarray
    segments: tuple[Segment, ...]

    def to_json(self) -> dict[str, Any]:
        height, width = self.mask.shape
        segments = [{"class": segment.name, "share": segment.share} for segment in self.segments]
        return {"file": self.file, "width": width, "height": height, "segments": segments}


class MaskPredictor:
    """An exported network that gives every pixel a class, with the names of the classes.

    model: its file, open or not.

    Raises RecordError when the file does not contain them, cannot be fed an image, or has no map of logits.
    """

    def __init__(self, model: Path | ExportedFile) -> None:
        self._file = file = opened(model)
        file.require_images()
        self.classes = file.about["classes"]
        shape = file.outputs.get(OUTPUT, [])
        if len(shape) != NUM_AXES or shape[1] not in (len(self.classes), None):
            raise RecordError(
                f"{file.path} gives {file.outputs_in_words}, not {OUTPUT} of {len(self.classes)} classes for every "
                "pixel. Export it again."
            )

    def predict(self, image: Image.Image, file: str) -> SegmentedImage:
        """The class of every pixel of one RGB image, at its own size. Raises DataError for logits that are not finite,
        RecordError for a file that fails."""
        logits_KHW = self._file.run(OUTPUT, self._file.pixels(image)).astype(np.float32)[0]
        if not np.isfinite(logits_KHW).all():
            raise DataError(f"{self._file.path.name} gives scores for it that are not finite")
        mask = taken_classes(torch.from_numpy(logits_KHW), image.height, image.width).numpy().astype(np.uint8)
        counts = np.bincount(mask.ravel(), minlength=len(self.classes))
        order = [int(number) for number in np.argsort(-counts, kind="stable") if counts[number]]
        segments = tuple(Segment(self.classes[n], n, 100 * float(counts[n]) / mask.size) for n in order)
        return SegmentedImage(file, mask, segments)
