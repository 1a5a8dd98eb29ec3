"""Formats by name, and by the runtime that reads them."""

from typing import Literal, get_args

from efficientformer.exporting.formats.format import Format
from efficientformer.exporting.formats.onnx import ONNX

FormatName = Literal["onnx", "tflite", "ncnn"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)
_OF_RUNTIMES: dict[str, FormatName] = {"litert": "tflite", "ncnn": "ncnn"}


def open_format(name: FormatName, converter_python: str | None = None) -> Format:
    """The format of that name; `converter_python` has litert-torch, see `LiteRTConverter`.

    Raises LatencyError when the format's converter is not installed.
    """
    match name:
        case "onnx":
            return ONNX
        case "tflite":
            from efficientformer.exporting.formats.litert import LiteRTFormat

            return LiteRTFormat(converter_python)
        case "ncnn":
            from efficientformer.exporting.formats.ncnn import NcnnFormat

            return NcnnFormat()


def format_of(runtime: str, converter_python: str | None = None) -> Format:
    """The format in which modules are written for a runtime. Raises LatencyError as `open_format` does."""
    return open_format(_OF_RUNTIMES.get(runtime, "onnx"), converter_python)
