"""Runtimes that networks are timed on: one file each, opened by name.

A further runtime is one file with a class that has the members of `Runtime`, and one line in `open_runtime`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from efficientformer.errors import UsageError
from efficientformer.latency.prepared import Prepared

if TYPE_CHECKING:
    from torch import nn

RUNTIME_NAMES = ("onnxruntime", "pytorch")


class Runtime(Protocol):
    """Something that runs networks, on this machine or another.

    With `threads` 1 all work of a call happens in one thread, so that thread's CPU time is the network's.
    """

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def describe(self) -> dict[str, Any]:
        """{name, version, compute_unit, options}: all that tells two settings apart, and the unit that really runs."""
        ...

    def machine(self) -> dict[str, Any]:
        """Where the networks run, as `provenance.machine` describes it."""
        ...

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> Prepared:
        """A module, in deploy form already, ready to be timed. Raises LatencyError."""
        ...

    def open(self, path: Path, input_shape: tuple[int, ...]) -> Prepared:
        """An exported file, ready to be timed. Raises LatencyError."""
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
