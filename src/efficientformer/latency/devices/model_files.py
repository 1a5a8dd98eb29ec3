"""Files in the format that a device's program reads."""

import itertools
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from efficientformer.latency.runtimes import Runtime, open_runtime
from efficientformer.latency.runtimes.exported import existing_file
from efficientformer.latency.worker.files import open_files

if TYPE_CHECKING:
    from torch import nn

# Each with the runtime that reads it, and the files that a user may bring: pnnx reads ONNX files for ncnn.
_RUNTIMES = {"onnx": "onnxruntime", "tflite": "litert", "ncnn": "ncnn"}
_SUFFIXES = {"onnx": (".onnx",), "tflite": (".tflite",), "ncnn": (".onnx", ".param")}
FORMATS = tuple(_RUNTIMES)


class ModelFiles:
    """Model files in one of `FORMATS`, kept in a temporary folder for as long as this object lives.

    `litert_python` converts to LiteRT, see `export.litert`. Raises LatencyError where a converter is not installed.
    """

    def __init__(self, file_format: str, litert_python: str | None = None) -> None:
        self.suffixes = _SUFFIXES[file_format]
        self._files = open_files(_RUNTIMES[file_format], litert_python)
        self._holder = tempfile.TemporaryDirectory(prefix="efficientformer-", ignore_cleanup_errors=True)
        self._numbers = itertools.count()

    def export(self, module: "nn.Module", input_shape: tuple[int, ...]) -> Path:
        """The file of a module for inputs of exactly `input_shape`. Raises LatencyError where it cannot be made."""
        exported = self._files.export(module, input_shape, self._own_folder())
        lowered = self.lower(exported, input_shape)
        if lowered != exported:
            exported.unlink()
        return lowered

    def lower(self, path: Path, input_shape: tuple[int, ...]) -> Path:
        """The file that the program reads, which may be `path` itself. Raises LatencyError."""
        path = existing_file(path, self.suffixes).resolve()
        lowered = self._files.lower(path, input_shape, self._own_folder())
        if lowered != path:
            # The program shows no outputs, so that the conversion was right is seen here.
            self._files.check(path, input_shape, self._local_ncnn.open(lowered, input_shape).output())
        return lowered

    @cached_property
    def _local_ncnn(self) -> Runtime:
        return open_runtime("ncnn")

    def _own_folder(self) -> Path:
        folder = Path(self._holder.name) / str(next(self._numbers))
        folder.mkdir()
        return folder
