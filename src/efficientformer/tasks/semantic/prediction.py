"""Give every pixel of photos a class with an exported file, which contains its class names and preprocessing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from efficientformer.data.transforms import Preprocessing, eval_transform, fitted
from efficientformer.errors import DataError, RecordError
from efficientformer.exporting.files import in_one_line
from efficientformer.tasks.classification.prediction import ImageInput, exported_about, open_session
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

    Raises RecordError when the file does not contain them, cannot be fed an image, or has no map of logits.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._path, self._session = path, open_session(path, threads)
        self._input = ImageInput(path, self._session)
        about = exported_about(path, self._session.get_modelmeta().custom_metadata_map)
        self.classes = about["classes"]
        self.preprocessing = Preprocessing.from_json(about["preprocessing"])
        self._input.check_size(self.preprocessing.grid)
        self._normalize = eval_transform(self.preprocessing)
        outputs = {item.name: item.shape for item in self._session.get_outputs()}
        shape = outputs.get(OUTPUT, [])
        if len(shape) != NUM_AXES or shape[1] not in (len(self.classes), None):
            given = ", ".join(f"{name} {shape}" for name, shape in outputs.items())
            raise RecordError(
                f"{path} gives {given}, not {OUTPUT} of {len(self.classes)} classes for every pixel. Export it again."
            )

    def logits(self, x_CHW: np.ndarray) -> np.ndarray:
        """Logits (K, H, W) of one image as the file takes it. Raises RecordError for a file that fails."""
        try:
            return np.asarray(self._session.run([OUTPUT], self._input.feed(x_CHW))[0], dtype=np.float32)[0]
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise RecordError(f"{self._path} cannot be run on an image: {in_one_line(error)}.") from error

    def predict(self, image: Image.Image, file: str) -> SegmentedImage:
        """The class of every pixel of one RGB image, at its own size. Raises DataError for logits that are not finite,
        RecordError for a file that fails."""
        if self._input.dtype == np.uint8:
            x_CHW = np.asarray(fitted(image, self.preprocessing)).transpose(2, 0, 1)
        else:
            x_CHW = self._normalize(image).numpy()
        logits_KHW = self.logits(x_CHW)
        if not np.isfinite(logits_KHW).all():
            raise DataError(f"{self._path.name} gives scores for it that are not finite")
        mask = taken_classes(torch.from_numpy(logits_KHW), image.height, image.width).numpy().astype(np.uint8)
        counts = np.bincount(mask.ravel(), minlength=len(self.classes))
        order = [int(number) for number in np.argsort(-counts, kind="stable") if counts[number]]
        segments = tuple(Segment(self.classes[n], n, 100 * float(counts[n]) / mask.size) for n in order)
        return SegmentedImage(file, mask, segments)
