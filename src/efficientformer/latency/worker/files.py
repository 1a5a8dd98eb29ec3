"""The files that a worker's runtime opens, made on this side: the far side has no converters."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from efficientformer.errors import LatencyError

if TYPE_CHECKING:
    from torch import nn

    from efficientformer.export.litert import LiteRTConverter

COMPANIONS = {".xml": ".bin", ".param": ".bin"}


class Files(Protocol):
    @property
    def options(self) -> Mapping[str, Any]:
        """What the description of the runtime has to say of them."""
        ...

    def export(self, module: "nn.Module", input_shape: tuple[int, ...], folder: Path) -> Path:
        """A file of the module in `folder`. Raises LatencyError."""
        ...

    def lower(self, path: Path, input_shape: tuple[int, ...], folder: Path) -> Path:
        """The file that the runtime opens, in `folder` unless it is `path` itself. Raises LatencyError."""
        ...

    def check(self, path: Path, input_shape: tuple[int, ...], output: np.ndarray) -> None:
        """Raise LatencyError unless `output`, of the lowered file, is what the network at `path` computes."""
        ...


class OnnxFiles:
    """For runtimes that read ONNX themselves, and files that a user brings."""

    options: Mapping[str, Any] = {}

    def export(self, module: "nn.Module", input_shape: tuple[int, ...], folder: Path) -> Path:
        from efficientformer.export.onnx import write_onnx

        path = folder / "network.onnx"
        write_onnx(module, input_shape, path)
        return path

    def lower(self, path: Path, input_shape: tuple[int, ...], folder: Path) -> Path:
        return path

    def check(self, path: Path, input_shape: tuple[int, ...], output: np.ndarray) -> None:
        """The runtime's own reading is taken as it is."""


class LiteRTFiles(OnnxFiles):
    """Converted by litert-torch in the Python at `converter_python`, or in this one."""

    def __init__(self, converter_python: str | None) -> None:
        self._converter_python = converter_python
        self._converter: LiteRTConverter | None = None

    def export(self, module: "nn.Module", input_shape: tuple[int, ...], folder: Path) -> Path:
        from efficientformer.export.litert import LiteRTConverter

        if self._converter is None:
            self._converter = LiteRTConverter(self._converter_python)
        path = folder / "network.tflite"
        self._converter.convert(module, input_shape, path)
        return path


def files_of(path: Path) -> list[Path]:
    """The file and those beside it that it needs, as far as they exist: the runtime says what it misses.

    Raises LatencyError for weights kept in another folder.
    """
    if path.suffix in COMPANIONS:
        return [path, *filter(Path.is_file, [path.with_suffix(COMPANIONS[path.suffix])])]
    if path.suffix != ".onnx":
        return [path]
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import uses_external_data

    try:
        tensors = onnx.load_model(path, load_external_data=False).graph.initializer
    except DecodeError:
        return [path]
    external = [entry for tensor in tensors if uses_external_data(tensor) for entry in tensor.external_data]
    names = sorted({entry.value for entry in external if entry.key == "location"})
    if any(Path(name).name != name for name in names):
        raise LatencyError(f"{path} keeps weights in another folder. Export it into one file.")
    return [path, *filter(Path.is_file, [path.parent / name for name in names])]


def open_files(runtime: str, converter_python: str | None) -> Files:
    """Files for the runtime of that name. Raises LatencyError when their converter is not installed."""
    match runtime:
        case "ncnn":
            from efficientformer.latency.worker.pnnx import NcnnFiles

            return NcnnFiles()
        case "litert":
            return LiteRTFiles(converter_python)
    return OnnxFiles()
