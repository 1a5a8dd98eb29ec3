"""Classify images with an exported file, which contains its class names and preprocessing.

The file says what it is fed, as NCHW or NHWC: float32, float16 and float64 get normalized pixels, uint8 gets pixels
from 0 to 255. Of its outputs, the one with a score for each class counts; those of a softmax, or of several labels an
image of a sigmoid, are probabilities.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.limits import MAX_PIXELS
from efficientformer.errors import DataError, RecordError
from efficientformer.formats.values import TaskName
from efficientformer.reading import shown_path
from efficientformer.tasks.exported_file import ExportedFile, opened, predict_readable
from efficientformer.tasks.words import task_words


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one image or all of its labels, best first; scores are probabilities in percent.

    kind: what they are, in JSON: `top5` or `labels`.
    """

    file: str
    classes: tuple[str, ...]
    scores: tuple[float, ...]
    kind: str = "top5"

    def to_json(self) -> dict[str, Any]:
        best = [{"class": name, "score": score} for name, score in zip(self.classes, self.scores, strict=True)]
        return {"file": self.file, self.kind: best}


@dataclass(frozen=True)
class Reading:
    """How the scores of a task's files are read.

    operator: one whose outputs are probabilities already.
    probabilities: of logits (K).
    shown: of probabilities (K), the classes of a prediction, best first. kind: see `Prediction`.
    """

    task: TaskName
    operator: str
    probabilities: Callable[[np.ndarray], np.ndarray]
    shown: Callable[[np.ndarray], np.ndarray]
    kind: str


class Predictor:
    """An exported network with its class names.

    model: its file, open or not.

    Raises RecordError when the file does not contain them, cannot be fed an image, or does not score its classes.
    """

    def __init__(self, model: Path | ExportedFile) -> None:
        self._file = file = opened(model)
        file.require_images()
        self.classes, path = file.about["classes"], file.path
        self._output = _scores_output(file, len(self.classes))
        if file.task not in READINGS:
            raise RecordError(
                f"{shown_path(path)} is no classifier: of its metadata, task is {file.task}. "
                "'efficientformer predict' reads such a file."
            )
        self.reading = READINGS[file.task]
        ending = reading_of(file, self._output)
        self.gives_probabilities = ending is self.reading
        if ending is not None and ending.operator == "Softmax" and not self.gives_probabilities:
            raise RecordError(
                f"{path} ends in a softmax, whose classes exclude one another, but is for images with "
                f"{task_words(self.reading.task).labels}. Export it without one."
            )

    def predict(self, image: Image.Image, file: str) -> Prediction:
        """Score one RGB image. Raises DataError for an image without a score, RecordError for a file that fails."""
        scores_1K = self._file.run(self._output, self._file.pixels(image)).astype(np.float64)
        if scores_1K.shape != (1, len(self.classes)):
            raise RecordError(
                _mismatch(self._file.path, f"{self._output} of shape {list(scores_1K.shape)}", len(self.classes))
            )
        if not np.isfinite(scores_1K).all():
            raise DataError(f"{self._file.path.name} gives scores for it that are not finite")
        reading = self.reading
        shares_K = scores_1K[0] if self.gives_probabilities else reading.probabilities(scores_1K[0])
        scores_K, best = 100 * shares_K, reading.shown(shares_K)
        names, scores = tuple(self.classes[i] for i in best), tuple(float(scores_K[i]) for i in best)
        return Prediction(file, names, scores, reading.kind)

    def predict_files(
        self, files: Sequence[Path], max_pixels: int = MAX_PIXELS
    ) -> tuple[list[Prediction], list[tuple[Path, str]]]:
        """Predictions of the readable files, and (file, reason) of the others."""
        return predict_readable(files, self.predict, max_pixels)


def _scores_output(file: ExportedFile, num_classes: int) -> str:
    """Name of the output with a score for each class. Raises RecordError for none, or for several without a name."""
    fitting = [
        name
        for name, shape in file.outputs.items()
        if len(shape) == 2 and (shape[1] == num_classes or not isinstance(shape[1], int))
    ]
    if len(fitting) == 1:
        return fitting[0]
    if "logits" in fitting:
        return "logits"
    if fitting:
        raise RecordError(
            f"{file.path} has several outputs with a score for each class ({', '.join(fitting)}). Name the one that "
            "counts 'logits'."
        )
    raise RecordError(_mismatch(file.path, file.outputs_in_words, num_classes))


def _mismatch(path: Path, given: str, num_classes: int) -> str:
    return (
        f"{path} gives {given}, not one score for each of the {num_classes} classes in its metadata. Export it again, "
        "with the names of its own classes."
    )


def reading_of(file: ExportedFile, output: str) -> Reading | None:
    """How an output of a file is read if it is probabilities; None for logits. Raises RecordError for a file that
    cannot be read."""
    operator = file.last_operator(output)
    return next((reading for reading in READINGS.values() if reading.operator == operator), None)


def _softmax(logits_K: np.ndarray) -> np.ndarray:
    exponents_K = np.exp(logits_K - logits_K.max())
    return exponents_K / exponents_K.sum()


def _sigmoid(logits_K: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -logits_K))


def _best_five(shares_K: np.ndarray) -> np.ndarray:
    return np.argsort(-shares_K, kind="stable")[:5]


def _above_half(shares_K: np.ndarray) -> np.ndarray:
    order = np.argsort(-shares_K, kind="stable")
    return order[shares_K[order] > 0.5]


READINGS: dict[TaskName, Reading] = {
    "classification": Reading("classification", "Softmax", _softmax, _best_five, "top5"),
    "multi_label": Reading("multi_label", "Sigmoid", _sigmoid, _above_half, "labels"),
}
"""By task."""
