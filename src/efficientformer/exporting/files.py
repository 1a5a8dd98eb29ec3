"""Exported files as every runtime meets them: refusing those that do not fit, and the input that they get."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from efficientformer.errors import LatencyError


def input_sample(input_shape: tuple[int, ...]) -> np.ndarray:
    """The input that every runtime times a network of this input shape on."""
    return np.random.default_rng(0).standard_normal(input_shape, dtype=np.float32)


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
