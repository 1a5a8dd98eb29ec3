"""A file format: it writes modules, and reads files of users."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from efficientformer.leftovers import temporary_folder

if TYPE_CHECKING:
    from torch import nn


class Format(Protocol):
    """Files of one kind, for the runtimes that read it. Its converters run on this machine only."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that `lower` takes, such as ".onnx"."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of the converter, for the description of a runtime; empty where they do not affect latency."""
        ...

    def write(self, module: "nn.Module", input_shape: tuple[int, ...], folder: Path) -> Path:
        """A file of the module in `folder`, for inputs of exactly `input_shape`. Raises LatencyError."""
        ...

    def lower(self, path: Path, input_shape: tuple[int, ...], folder: Path) -> Path:
        """The file that the runtime opens, in `folder` unless it is `path` itself. Raises LatencyError."""
        ...

    def check(self, path: Path, input_shape: tuple[int, ...], output: np.ndarray) -> None:
        """Raise LatencyError unless `output`, of the lowered file, is what the network at `path` computes."""
        ...


@contextlib.contextmanager
def written_file(file_format: Format, module: "nn.Module", input_shape: tuple[int, ...]) -> Iterator[Path]:
    """A temporary file of the module, to be opened inside the block."""
    with temporary_folder() as folder:
        yield file_format.write(module, input_shape, Path(folder))
