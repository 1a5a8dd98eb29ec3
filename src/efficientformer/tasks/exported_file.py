"""An exported file: what it is fed, what its metadata say, and its outputs for an image."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from PIL import Image

from efficientformer.arch.resolution import Grid
from efficientformer.data.images import read_image
from efficientformer.data.transforms import Preprocessing, eval_transform, fitted
from efficientformer.errors import DataError, RecordError
from efficientformer.exporting.files import in_one_line, numpy_type
from efficientformer.exporting.onnx_graph import is_channels_last
from efficientformer.formats.network import ExportedAbout
from efficientformer.formats.values import TaskName
from efficientformer.reading import checked, parse_json, shown_path
from efficientformer.tasks.onnx_session import OnnxSession, Session

COLORS, NUM_AXES = 3, 4
KNOWN = tuple(ExportedAbout.__annotations__)
Found = TypeVar("Found")


class ExportedFile:
    """An exported file on the CPU, for one image at a time.

    threads: of ONNX Runtime; by default all, else some that do not spin between runs.
    session: of another runtime, which has loaded the file.

    Raises RecordError for a file that cannot be loaded and, where they are asked for, for an input that takes no images
    and for metadata that were not written by this package.
    """

    def __init__(self, path: Path, threads: int | None = None, session: Session | None = None) -> None:
        self.path, self._session = path, session or OnnxSession(path, threads)

    @cached_property
    def input(self) -> "ImageInput":
        return ImageInput(self.path, self._session)

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._session.metadata

    @cached_property
    def about(self) -> ExportedAbout:
        return exported_about(self.path, self.metadata)

    @property
    def task(self) -> TaskName:
        return self.about.get("task", "classification")

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.from_json(self.about["preprocessing"])

    def require_images(self) -> None:
        """Raises RecordError unless it takes images of the size in its metadata."""
        self.input.check_size(self.preprocessing.grid)

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """Shapes by name."""
        return {item.name: item.shape for item in self._session.outputs}

    @property
    def outputs_in_words(self) -> str:
        return ", ".join(f"{name} {shape}" for name, shape in self.outputs.items())

    def last_operator(self, output: str) -> str | None:
        """The operator that an output comes from. Raises RecordError for a file that cannot be read."""
        return self._session.last_operator(output)

    @cached_property
    def _normalize(self) -> Callable[[Image.Image], Any]:
        return eval_transform(self.preprocessing)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """The whole image in the file's size, CHW: from 0 to 255 for uint8, else normalized."""
        if self.input.dtype == np.uint8:
            return np.asarray(fitted(image, self.preprocessing)).transpose(2, 0, 1)
        return self._normalize(image).numpy()

    def run(self, output: str, x_CHW: np.ndarray) -> np.ndarray:
        """An output for one image. Raises RecordError for a file that fails."""
        try:
            return self._session.run(output, self.input.feed(x_CHW))
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise RecordError(f"{self.path} cannot be run on an image: {in_one_line(error)}.") from error


def opened(model: Path | ExportedFile, threads: int | None = None) -> ExportedFile:
    """The file at a path, unless it is open. threads: see `ExportedFile`."""
    return model if isinstance(model, ExportedFile) else ExportedFile(model, threads)


def predict_readable(
    files: Sequence[Path], predict: Callable[[Image.Image, str], Found], max_pixels: int
) -> tuple[list[Found], list[tuple[Path, str]]]:
    """What `predict` finds in the readable files, and (file, reason) of the others."""
    predictions, skipped = list[Found](), list[tuple[Path, str]]()
    for file in files:
        try:
            predictions.append(predict(read_image(file, max_pixels=max_pixels), str(file)))
        except DataError as error:
            skipped.append((file, str(error)))
    return predictions, skipped


class ImageInput:
    """The only input of a file. Raises RecordError unless it takes one image at a time."""

    def __init__(self, path: Path, session: Session) -> None:
        self._inputs, self._path = session.inputs, path
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


def exported_about(path: Path, metadata: Mapping[str, str]) -> ExportedAbout:
    """Class names and preprocessing in the metadata of an exported file. Raises RecordError for one of others."""
    try:
        known = {name: metadata[name] for name in KNOWN if name in metadata}
        values = {name: text if name == "task" else _decoded(name, text) for name, text in known.items()}
        return checked(values, ExportedAbout)
    except ValueError as error:
        raise RecordError(
            f"{shown_path(path)} was not exported by 'efficientformer export': of its metadata, {error}. "
            "docs/evaluation.md lists what is needed and how to add it."
        ) from error


def _decoded(name: str, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {error}") from error


def _type_name(declared: str) -> str:
    """`tensor(float16)` -> float16."""
    return declared.partition("(")[2].rstrip(")") or declared
