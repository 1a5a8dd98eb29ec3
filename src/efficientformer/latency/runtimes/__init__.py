"""Runtimes that networks are timed on: one file each, opened by name.

A further runtime is one file with a class that has the members of `Runtime`, and one line in `_open`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from efficientformer.errors import LatencyError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from efficientformer.latency.prepared import Prepared

RuntimeName = Literal[
    "onnxruntime", "openvino", "pytorch", "torch_compile", "mnn", "ncnn", "litert", "cuda", "tensorrt"
]
RUNTIME_NAMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
ACCELERATORS = frozenset({"cuda", "tensorrt"})
"""Runtimes that compute on a device beside the CPU: its own events time them, so only the wall clock serves."""


class Runtime(Protocol):
    """Something that runs networks, on this machine or another.

    With `threads` 1 all work of a call happens in one thread, so that thread's CPU time is the network's.
    """

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that `open` reads, such as ".onnx"; none where modules alone are run."""
        ...

    def describe(self) -> dict[str, Any]:
        """{name, version, compute_unit, precision, options}: all that tells two settings apart, and the unit that runs.

        `precision` is what it computes in, such as fp32: a table holds for one.
        """
        ...

    def machine(self) -> dict[str, Any]:
        """Where the networks run, as `provenance.machine` describes it."""
        ...

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> "Prepared":
        """A module, in deploy form already, ready to be timed. Raises LatencyError."""
        ...

    def open(self, path: Path, input_shape: tuple[int, ...]) -> "Prepared":
        """An exported file, ready to be timed. Raises LatencyError."""
        ...


def open_runtime(name: str, threads: int = 1) -> Runtime:
    """The runtime of that name.

    Raises UsageError for an unknown one or a number of threads that it cannot have, LatencyError for one whose package
    or device is missing here.
    """
    if threads < 1:
        raise UsageError(f"A runtime needs at least one thread, not {threads}.")
    if name not in RUNTIME_NAMES:
        raise UsageError(f"There is no runtime {name!r}; the runtimes are {', '.join(RUNTIME_NAMES)}.")
    try:
        return _open(name, threads)
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
            from efficientformer.latency.worker.local import local_worker

            return local_worker(name, threads)
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
