"""Classify images with an exported file, which contains its class names and preprocessing.

The file says what it is fed, as NCHW or NHWC: float32, float16 and float64 get normalized pixels, uint8 gets pixels
from 0 to 255. Of its outputs, the one with a score for each class counts; those of a softmax, or of several labels an
image of a sigmoid, are probabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from PIL import Image

from efficientformer.arch.parts import Grid
from efficientformer.data.images import read_image
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.transforms import Preprocessing, eval_transform, fitted
from efficientformer.errors import DataError, LatencyError, RecordError
from efficientformer.exporting.files import in_one_line, numpy_type
from efficientformer.exporting.onnx_graph import is_channels_last, last_operator, read_graph
from efficientformer.formats.network import ExportedAbout
from efficientformer.formats.values import TaskName
from efficientformer.reading import checked, parse_json, shown_path
from efficientformer.tasks.words import task_words

if TYPE_CHECKING:
    import onnxruntime

COLORS, NUM_AXES = 3, 4
ERRORS_ONLY = 3
KNOWN = tuple(ExportedAbout.__annotations__)


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

    Raises RecordError when the file does not contain them, cannot be fed an image, or does not score its classes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session = open_session(path)
        self._input = ImageInput(path, self._session)
        metadata = self._session.get_modelmeta().custom_metadata_map
        about = exported_about(path, metadata)
        self.classes = about["classes"]
        self._preprocessing = Preprocessing.from_json(about["preprocessing"])
        self._input.check_size(self._preprocessing.grid)
        self._normalize = eval_transform(self._preprocessing)
        self._output = _scores_output(path, self._session, len(self.classes))
        task = about.get("task", "classification")
        if task not in READINGS:
            raise RecordError(
                f"{shown_path(path)} is no classifier: of its metadata, task is {task}. "
                "'efficientformer predict' reads such a file."
            )
        self.reading = READINGS[task]
        ending = reading_of(path, self._output)
        self.gives_probabilities = ending is self.reading
        if ending is not None and ending.operator == "Softmax" and not self.gives_probabilities:
            raise RecordError(
                f"{path} ends in a softmax, whose classes exclude one another, but is for images with "
                f"{task_words(self.reading.task).labels}. Export it without one."
            )

    def predict(self, image: Image.Image, file: str) -> Prediction:
        """Score one RGB image. Raises DataError for an image without a score, RecordError for a file that fails."""
        try:
            scores = self._session.run([self._output], self._input.feed(self._pixels(image)))[0]
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise RecordError(f"{self._path} cannot be run on an image: {in_one_line(error)}.") from error
        scores_1K = np.asarray(scores, dtype=np.float64)
        if scores_1K.shape != (1, len(self.classes)):
            raise RecordError(
                _mismatch(self._path, f"{self._output} of shape {list(scores_1K.shape)}", len(self.classes))
            )
        if not np.isfinite(scores_1K).all():
            raise DataError(f"{self._path.name} gives scores for it that are not finite")
        reading = self.reading
        shares_K = scores_1K[0] if self.gives_probabilities else reading.probabilities(scores_1K[0])
        scores_K, best = 100 * shares_K, reading.shown(shares_K)
        names, scores = tuple(self.classes[i] for i in best), tuple(float(scores_K[i]) for i in best)
        return Prediction(file, names, scores, reading.kind)

    def _pixels(self, image: Image.Image) -> np.ndarray:
        """The image in the file's size, CHW: from 0 to 255 for uint8, else normalized."""
        if self._input.dtype == np.uint8:
            return np.asarray(fitted(image, self._preprocessing)).transpose(2, 0, 1)
        return self._normalize(image).numpy()

    def predict_files(
        self, files: Sequence[Path], max_pixels: int = MAX_PIXELS
    ) -> tuple[list[Prediction], list[tuple[Path, str]]]:
        """Predictions of the readable files, and (file, reason) of the others."""
        predictions, skipped = [], []
        for file in files:
            try:
                predictions.append(self.predict(read_image(file, max_pixels=max_pixels), str(file)))
            except DataError as error:
                skipped.append((file, str(error)))
        return predictions, skipped


class ImageInput:
    """The only input of a file. Raises RecordError unless it takes one image at a time."""

    def __init__(self, path: Path, session: "onnxruntime.InferenceSession") -> None:
        self._inputs, self._path = session.get_inputs(), path
        only = self._inputs[0] if len(self._inputs) == 1 else None
        shape = only.shape if only else []
        dtype = numpy_type(only.type) if only else None
        if len(shape) != NUM_AXES:
            self._refuse("one batch of images (batch, channels, height, width)")
        if dtype is None or (dtype.kind != "f" and dtype != np.uint8):
            self._refuse("images as float32, float16, float64 or uint8")
        self.dtype, self._is_last = np.dtype(dtype), is_channels_last(shape)
        batch, *self._sizes = shape
        channels = self._sizes.pop(2 if self._is_last else 0)
        if isinstance(batch, int) and batch != 1:
            self._refuse(f"one image: it wants {batch} images at once. Export it with --export.dynamic-batch")
        if isinstance(channels, int) and channels != COLORS:
            self._refuse(f"images of {COLORS} channels")

    @property
    def fixed_grid(self) -> Grid | None:
        """Height and width, where the file takes no others."""
        height, width = self._sizes
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def check_size(self, grid: Grid) -> None:
        if any(isinstance(size, int) and size != wanted for size, wanted in zip(self._sizes, grid, strict=True)):
            self._refuse(f"images of {grid[0]} x {grid[1]} pixels, the size in its own metadata")

    def feed(self, x_CHW: np.ndarray) -> dict[str, np.ndarray]:
        x = x_CHW.transpose(1, 2, 0) if self._is_last else x_CHW
        return {self._inputs[0].name: np.ascontiguousarray(x[None], dtype=self.dtype)}

    def _refuse(self, wanted: str) -> NoReturn:
        kinds = ", ".join(f"{item.name} {item.shape} of {_type_name(item.type)}" for item in self._inputs)
        raise RecordError(f"{self._path} takes {kinds or 'nothing'}, not {wanted}.")


def open_session(path: Path, threads: int | None = None) -> "onnxruntime.InferenceSession":
    """A session of an ONNX file on the CPU, with all threads or with some that do not spin between runs. Raises
    RecordError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no base class of their own
        raise RecordError(
            f"{path} is not an ONNX file that this ONNX Runtime can load ({in_one_line(error)})."
        ) from error


def exported_task(path: Path) -> TaskName:
    """The task of an exported file, by its metadata. Raises RecordError as `Predictor` does."""
    about = exported_about(path, open_session(path).get_modelmeta().custom_metadata_map)
    return about.get("task", "classification")


def exported_about(path: Path, metadata: Mapping[str, str]) -> ExportedAbout:
    """Class names and preprocessing in the metadata of an exported file. Raises RecordError for one of others."""
    try:
        known = {name: metadata[name] for name in KNOWN if name in metadata}
        values = {name: text if name == "task" else _decoded(name, text) for name, text in known.items()}
        return checked(values, ExportedAbout)
    except ValueError as error:
        raise RecordError(
            f"{shown_path(path)} was not exported by 'efficientformer export': of its metadata, {error}."
        ) from error


def _decoded(name: str, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {error}") from error


def _scores_output(path: Path, session: "onnxruntime.InferenceSession", num_classes: int) -> str:
    """Name of the output with a score for each class. Raises RecordError for none, or for several without a name."""
    outputs = session.get_outputs()
    fitting = [
        item.name
        for item in outputs
        if len(item.shape) == 2 and (item.shape[1] == num_classes or not isinstance(item.shape[1], int))
    ]
    if len(fitting) == 1:
        return fitting[0]
    if "logits" in fitting:
        return "logits"
    if fitting:
        raise RecordError(
            f"{path} has several outputs with a score for each class ({', '.join(fitting)}). Name the one that counts "
            "'logits'."
        )
    raise RecordError(_mismatch(path, ", ".join(f"{item.name} {item.shape}" for item in outputs), num_classes))


def _mismatch(path: Path, given: str, num_classes: int) -> str:
    return (
        f"{path} gives {given}, not one score for each of the {num_classes} classes in its metadata. Export it again, "
        "with the names of its own classes."
    )


def reading_of(path: Path, output: str) -> Reading | None:
    """How an output of a file is read if it is probabilities; None for logits. Raises RecordError for a file that
    cannot be read."""
    try:
        operator = last_operator(read_graph(path, weights=False), output)
    except LatencyError as error:
        raise RecordError(str(error)) from error
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


def _type_name(declared: str) -> str:
    """`tensor(float16)` -> float16."""
    return declared.partition("(")[2].rstrip(")") or declared
