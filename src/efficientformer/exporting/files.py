"""Exported files as every runtime meets them: refusing those that do not fit, and the input that they get."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from efficientformer.errors import LatencyError

MIDDLE, PIXELS_PER_UNIT = 128, 48
_LETTERS = {"f": "float", "u": "uint", "i": "int"}


def input_sample(input_shape: tuple[int, ...], dtype: np.dtype | type = np.float32) -> np.ndarray:
    """The input that every runtime times a network of this input shape on; as integers it is pixels."""
    x = np.random.default_rng(0).standard_normal(input_shape, dtype=np.float32)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return x.astype(dtype, copy=False)
    pixels = np.round(np.clip(MIDDLE + PIXELS_PER_UNIT * x, 0, 255))
    return (pixels - (MIDDLE if dtype == np.int8 else 0)).astype(dtype)


def numpy_type(declared: str) -> np.dtype | None:
    """The NumPy type of a type as ONNX Runtime (`tensor(float16)`) or OpenVINO (`f16`, `u8`) writes it; None for types
    that are no numbers of NumPy."""
    name = declared.removeprefix("tensor(").removesuffix(")")
    name = {"float": "float32", "double": "float64"}.get(name, name)
    if name[:1] in _LETTERS and name[1:].isdigit():
        name = _LETTERS[name[0]] + name[1:]
    try:
        dtype = np.dtype(name)
    except TypeError:
        return None
    return dtype if dtype.kind in "fiu" else None


def fed_sample(path: Path, name: str, declared: str, input_shape: tuple[int, ...]) -> np.ndarray:
    """`input_sample` in the type that a file declares for its input. Raises LatencyError for one that is no number."""
    dtype = numpy_type(declared)
    if dtype is None:
        raise LatencyError(f"{path} takes {name} as {declared}, which is none of the types of images. Export it again.")
    return input_sample(input_shape, dtype)


def existing_file(path: Path, suffixes: Sequence[str]) -> Path:
    """`path`, when it is a file with one of the endings. Raises LatencyError otherwise."""
    path = Path(path)
    if path.suffix not in suffixes:
        raise LatencyError(f"{path} is not a {' or '.join(suffixes)} file. Give a file that this runtime can open.")
    if not path.is_file():
        raise LatencyError(f"{path} does not exist. Give the path of an exported {suffixes[0]} file.")
    return path


def check_only_input(
    path: Path, inputs: Sequence[tuple[str, Sequence[int | str | None]]], input_shape: tuple[int, ...]
) -> None:
    """Raise LatencyError unless `inputs` (name, declared shape) is a single one that `input_shape` fits."""
    if len(inputs) != 1 or not _fits(inputs[0][1], input_shape):
        actual = ", ".join(f"{name} {list(shape)}" for name, shape in inputs)
        raise LatencyError(f"{path} takes {actual}, not one input of shape {list(input_shape)}. Choose its resolution.")


def in_one_line(error: Exception) -> str:
    """A runtime's error message in one line, without the full stop."""
    return " ".join(str(error).split()).rstrip(".")


def _fits(declared: Sequence[int | str | None], shape: tuple[int, ...]) -> bool:
    """Whether a shape fits the declared one, in which names and None stand for any size."""
    return len(declared) == len(shape) and all(
        not isinstance(size, int) or size == given for size, given in zip(declared, shape, strict=True)
    )
