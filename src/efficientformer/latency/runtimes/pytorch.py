"""PyTorch as it is without compilation: the baseline that needs no export."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from efficientformer.errors import LatencyError
from efficientformer.latency.prepared import InProcess, input_sample
from efficientformer.provenance import machine


class PyTorch:
    """Eager PyTorch on the CPU with `threads` threads, in inference mode."""

    name = "pytorch"

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": torch.__version__,
            "compute_unit": "cpu",
            "options": {"mode": "eager", "memory_format": "contiguous", "intra_op_threads": self.threads},
        }

    def machine(self) -> dict[str, Any]:
        return machine()

    def prepare(self, module: nn.Module, input_shape: tuple[int, ...]) -> InProcess:
        module = module.cpu().eval()
        x = torch.from_numpy(input_sample(input_shape))

        def run() -> torch.Tensor:
            before = torch.get_num_threads()
            torch.set_num_threads(self.threads)
            try:
                with torch.inference_mode():
                    return module(x)
            finally:
                torch.set_num_threads(before)

        try:
            run()
        except RuntimeError as error:
            raise LatencyError(f"The network does not run on an input of shape {list(input_shape)}: {error}") from error
        return InProcess(run)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        raise LatencyError(
            f"PyTorch does not run exported files such as {path}. Measure the file with the runtime 'onnxruntime'."
        )
