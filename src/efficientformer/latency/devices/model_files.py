"""Files in the format that a device's program reads."""

import itertools
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from efficientformer.exporting.files import existing_file
from efficientformer.exporting.formats.open import FormatName, open_format
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.runtimes import usable
from efficientformer.latency.worker.local import local_worker
from efficientformer.leftovers import temporary_folder

if TYPE_CHECKING:
    from torch import nn


class ModelFiles:
    """Model files in one format, kept in a temporary folder for as long as this object lives.

    `litert_python` converts to LiteRT, see `exporting.formats.litert`. Raises LatencyError where a converter is not
    installed.
    """

    def __init__(self, format_name: FormatName, litert_python: str | None = None) -> None:
        self.format = open_format(format_name, litert_python)
        self.suffixes = self.format.suffixes
        self._holder = temporary_folder()
        self._numbers = itertools.count()

    def export(self, module: "nn.Module", input_shape: tuple[int, ...]) -> Path:
        """The file of a module for inputs of exactly `input_shape`. Raises LatencyError where it cannot be made."""
        written = self.format.write(module, input_shape, self._own_folder())
        lowered = self.lower(written, input_shape)
        if lowered != written:
            written.unlink()
        return lowered

    def lower(self, path: Path, input_shape: tuple[int, ...]) -> Path:
        """The file that the program reads, which may be `path` itself. Raises LatencyError."""
        path = existing_file(path, self.suffixes).resolve()
        lowered = self.format.lower(path, input_shape, self._own_folder())
        if lowered != path:
            # The program shows no outputs, so that the conversion was right is seen here.
            self.format.check(path, input_shape, self._local_ncnn.open(lowered, input_shape).output())
        return lowered

    @cached_property
    def _local_ncnn(self) -> Runtime:
        with usable("ncnn", 1):
            return local_worker("ncnn", 1)

    def _own_folder(self) -> Path:
        folder = Path(self._holder.name) / str(next(self._numbers))
        folder.mkdir()
        return folder
