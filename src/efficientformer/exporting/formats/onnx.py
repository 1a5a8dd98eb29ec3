"""ONNX, which most runtimes read themselves: nothing is converted."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn


class OnnxFormat:
    suffixes: tuple[str, ...] = (".onnx",)
    options: Mapping[str, Any] = MappingProxyType({})

    def write(self, module: "nn.Module", input_shape: tuple[int, ...], folder: Path) -> Path:
        from efficientformer.exporting.onnx import write_onnx

        path = folder / "network.onnx"
        write_onnx(module, input_shape, path)
        return path

    def lower(self, path: Path, input_shape: tuple[int, ...], folder: Path) -> Path:
        return path

    def check(self, path: Path, input_shape: tuple[int, ...], output: np.ndarray) -> None:
        """The runtime's own reading is taken as it is."""


ONNX = OnnxFormat()
