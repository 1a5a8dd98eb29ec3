"""The protocol of a runtime, here or on another device, and what the runtimes of this process share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from efficientformer.exporting.formats.format import Format, written_file
from efficientformer.exporting.formats.onnx import ONNX
from efficientformer.provenance import machine

if TYPE_CHECKING:
    from torch import nn

    from efficientformer.latency.prepared import Prepared

RuntimeName = Literal[
    "onnxruntime", "openvino", "pytorch", "torch_compile", "mnn", "ncnn", "litert", "cuda", "tensorrt"
]
RUNTIME_NAMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
ACCELERATORS = frozenset({"cuda", "tensorrt"})
"""Runtimes that compute on a GPU: its own events time them, so only the wall clock is supported."""


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
        """{name, version, compute_unit, precision, options}: the unit that runs, and all settings that affect latency.

        `precision` is that of its arithmetic, such as fp32: a table is valid for one.
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


@runtime_checkable
class Restarts(Protocol):
    """A runtime whose networks run in a process that can be replaced by a new one."""

    def restart(self) -> None: ...


class InThisProcess:
    """A runtime whose networks run in this process."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def machine(self) -> dict[str, Any]:
        return machine()


class OpensFiles:
    """A runtime that runs a module from a file in its `format`."""

    @property
    def format(self) -> Format:
        return ONNX

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> "Prepared":
        with written_file(self.format, module, input_shape) as path:
            return self.open(path, input_shape)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> "Prepared":
        raise NotImplementedError
