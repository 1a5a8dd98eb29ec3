"""PyTorch on a CUDA device: one captured graph, replayed, between two events of the device.

Replaying a graph avoids the cost of launching every kernel from Python, as in deployment; the events measure the
device's own time, so no other clock is supported.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.files import input_sample
from efficientformer.latency.clock import Clock
from efficientformer.latency.prepared import Calls
from efficientformer.latency.runtime import InThisProcess
from efficientformer.latency.runtimes.pytorch import no_files

WARMUP_RUNS = 3


@dataclass(frozen=True)
class OnDevice:
    """A network that `launch` starts on `stream` and that writes to `output_tensor`."""

    launch: Callable[[], Any]
    stream: torch.cuda.Stream
    output_tensor: torch.Tensor

    def sample(self, calls: Calls, clock: Clock) -> float:
        """Milliseconds per call between two events. Raises LatencyError for any clock but "wall"."""
        if clock != "wall":
            raise LatencyError(
                f"CUDA devices are timed by their own events, not by the {clock} clock. Use --clock wall."
            )
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.stream(self.stream):
            for _ in range(calls.settling):
                self.launch()
            start.record()
            for _ in range(calls.timed):
                self.launch()
            end.record()
        end.synchronize()
        return start.elapsed_time(end) / calls.timed

    def output(self) -> np.ndarray:
        with torch.cuda.stream(self.stream):
            self.launch()
        self.stream.synchronize()
        return self.output_tensor.cpu().numpy()


class Cuda(InThisProcess):
    """The current CUDA device, in single precision without TensorFloat-32."""

    name = "cuda"
    suffixes = ()

    def __init__(self, threads: int = 1) -> None:
        require_cuda(self.name, threads)
        super().__init__(threads)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": torch.__version__,
            "compute_unit": torch.cuda.get_device_name(),
            "precision": "fp32",
            "options": {
                "mode": "cuda graph",
                "timed_by": "events",
                "tf32": False,
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
                "intra_op_threads": self.threads,
            },
        }

    def prepare(self, module: nn.Module, input_shape: tuple[int, ...]) -> OnDevice:
        module = copy.deepcopy(module).cuda().eval()
        x = torch.from_numpy(input_sample(input_shape)).cuda()
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream())
        matmul_precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with (
                torch.inference_mode(),
                torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
            ):
                # Kernels are chosen during the first calls; a graph can hold only what is chosen already.
                with torch.cuda.stream(stream):
                    for _ in range(WARMUP_RUNS):
                        module(x)
                stream.synchronize()
                with torch.cuda.graph(graph, stream=stream):
                    y = module(x)
        except RuntimeError as error:
            raise LatencyError(
                f"The network cannot be captured on CUDA for an input of shape {list(input_shape)}: {error}"
            ) from error
        finally:
            torch.set_float32_matmul_precision(matmul_precision)

        def replay(module: nn.Module = module, x: torch.Tensor = x) -> None:
            """The graph reads the memory of its weights and input, which live as long as this function."""
            graph.replay()

        return OnDevice(replay, stream, y)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> OnDevice:
        raise no_files(path)


def require_cuda(name: str, threads: int) -> None:
    """Raise LatencyError without a CUDA device, UsageError for more than one thread."""
    if threads != 1:
        raise UsageError(f"The runtime {name!r} computes on the GPU: use --threads 1, not --threads {threads}.")
    if not torch.cuda.is_available():
        raise LatencyError(
            f"The runtime {name!r} needs a CUDA device, and PyTorch {torch.__version__} finds none here. Check the "
            "driver with nvidia-smi and that this PyTorch was built for CUDA."
        )
