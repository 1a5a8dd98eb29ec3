"""PyTorch as it is without compilation: the baseline that needs no export."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.latency.prepared import InProcess
from efficientformer.latency.runtime import InThisProcess


class PyTorch(InThisProcess):
    """Eager PyTorch on the CPU with `threads` threads, in inference mode."""

    name = "pytorch"
    suffixes = ()

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": torch.__version__,
            "compute_unit": "cpu",
            "precision": "fp32",
            "options": {"mode": "eager", "memory_format": "contiguous", "intra_op_threads": self.threads},
        }

    def prepare(self, module: nn.Module, input_shape: tuple[int, ...]) -> InProcess:
        run = inference(module.cpu().eval(), torch.from_numpy(input_sample(input_shape)), self.threads)
        try:
            run()
        except RuntimeError as error:
            raise LatencyError(f"The network does not run on an input of shape {list(input_shape)}: {error}") from error
        return InProcess(run)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        raise no_files(path)


def inference(
    call: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, threads: int
) -> Callable[[], torch.Tensor]:
    """`call(x)` in inference mode with `threads` threads, which hold during the call only."""

    def run() -> torch.Tensor:
        with _num_threads(threads), torch.inference_mode():
            return call(x)

    return run


def no_files(path: Path) -> LatencyError:
    return LatencyError(
        f"PyTorch does not run exported files such as {path}. Measure the file with the runtime 'onnxruntime'."
    )


@contextlib.contextmanager
def _num_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
