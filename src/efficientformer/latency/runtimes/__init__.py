"""Runtimes that networks are timed on: one file each, opened by name.

To add a runtime, write a file with a class that has the members of `Runtime`, and a line in `_open`.
"""

import contextlib
from collections.abc import Iterator

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.runtime import RUNTIME_NAMES, Runtime


def open_in_process(name: str, threads: int = 1) -> Runtime:
    """The runtime of that name in this process, which a crash of the runtime would end: see `devices.open_runtime`.

    Raises UsageError for an unknown runtime or a number of threads that it does not support, LatencyError when its
    package or device is missing here.
    """
    with usable(name, threads):
        return _open(name, threads)


@contextlib.contextmanager
def usable(name: str, threads: int) -> Iterator[None]:
    """Check name and threads, and turn an ImportError in the block into a LatencyError that says what to install."""
    if threads < 1:
        raise UsageError(f"A runtime needs at least one thread, not {threads}.")
    if name not in RUNTIME_NAMES:
        raise UsageError(f"There is no runtime {name!r}; the runtimes are {', '.join(RUNTIME_NAMES)}.")
    try:
        yield
    except ImportError as error:
        raise LatencyError(
            f"The runtime {name!r} cannot be used here ({error}). Install it: pip install {_installed_by(name)}."
        ) from error


def _open(name: str, threads: int) -> Runtime:
    match name:
        case "onnxruntime":
            from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime

            return OnnxRuntime(threads)
        case "openvino":
            from efficientformer.latency.runtimes.openvino import OpenVino

            return OpenVino(threads)
        case "pytorch":
            from efficientformer.latency.runtimes.pytorch import PyTorch

            return PyTorch(threads)
        case "torch_compile":
            from efficientformer.latency.runtimes.torch_compile import TorchCompile

            return TorchCompile(threads)
        case "mnn":
            from efficientformer.latency.runtimes.mnn import Mnn

            return Mnn(threads)
        case "ncnn":
            from efficientformer.latency.runtimes.ncnn import Ncnn

            return Ncnn(threads)
        case "litert":
            from efficientformer.latency.runtimes.litert import LiteRT

            return LiteRT(threads)
        case "cuda":
            from efficientformer.latency.runtimes.cuda import Cuda

            return Cuda(threads)
        case "tensorrt":
            from efficientformer.latency.runtimes.tensorrt import TensorRT

            return TensorRT(threads)
    raise AssertionError(name)


def _installed_by(name: str) -> str:
    match name:
        case "pytorch" | "torch_compile" | "cuda":
            return "torch"
        case "onnxruntime" | "tensorrt":
            return name
    return f'"efficientformer[{name}]"'
