"""Runtimes that networks are timed on: one file each, opened by name.

A further runtime is one file with a class that has the members of `Runtime`, and one line in `open_runtime`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from efficientformer.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

RUNTIME_NAMES = ("onnxruntime", "pytorch")
Run = Callable[[], object]


class Runtime(Protocol):
    """Something that runs a network on this machine, each call on the same fixed input.

    With `threads` 1 all work happens in the calling thread, so that thread's CPU time is the network's.
    """

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def describe(self) -> dict[str, Any]:
        """{name, version, compute_unit, options}: all that tells two settings apart, and the unit that really runs."""
        ...

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> Run:
        """A module, in deploy form already, ready to be called. Raises LatencyError."""
        ...

    def open(self, path: Path, input_shape: tuple[int, ...]) -> Run:
        """An exported file, ready to be called. Raises LatencyError."""
        ...


def open_runtime(name: str, threads: int = 1) -> Runtime:
    """The runtime of that name. Raises UsageError for an unknown one or for fewer than one thread."""
    if threads < 1:
        raise UsageError(f"A runtime needs at least one thread, not {threads}.")
    match name:
        case "onnxruntime":
            from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime

            return OnnxRuntime(threads)
        case "pytorch":
            from efficientformer.latency.runtimes.pytorch import PyTorch

            return PyTorch(threads)
    raise UsageError(f"There is no runtime {name!r}; the runtimes are {', '.join(RUNTIME_NAMES)}.")
