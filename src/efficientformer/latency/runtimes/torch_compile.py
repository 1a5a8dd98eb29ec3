"""PyTorch compiled by its inductor, with the weights frozen into the code.

Freezing lets the compiler fold and reorder weights: EfficientFormer-L1 took 32 ms with it and 38 without. A call pays
for the checks by which PyTorch finds its compiled code, as it does in use; in small networks they are most of it.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._inductor.config
from torch import nn

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.latency.prepared import InProcess
from efficientformer.latency.runtime import InThisProcess
from efficientformer.latency.runtimes.pytorch import inference, no_files


class TorchCompile(InThisProcess):
    """One graph for the whole network, compiled for `threads` CPU threads and one input shape."""

    name = "torch_compile"
    suffixes = ()

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        self._compiler = _compiler_version()

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": torch.__version__,
            "compute_unit": "cpu",
            "precision": "fp32",
            "options": {
                "mode": "inductor",
                "fullgraph": True,
                "freezing": True,
                "guards": True,
                "compiler": self._compiler,
                "intra_op_threads": self.threads,
            },
        }

    def prepare(self, module: nn.Module, input_shape: tuple[int, ...]) -> InProcess:
        """Compile, which takes seconds. Raises LatencyError for a network that is not one graph."""
        compiled = torch.compile(_only_compiled(module.cpu().eval()), fullgraph=True, dynamic=False)
        run = inference(compiled, torch.from_numpy(input_sample(input_shape)), self.threads)
        try:
            # As an option of `torch.compile` freezing reaches only a part of the compiler, and nothing is frozen.
            with torch._inductor.config.patch(freezing=True):
                run()
        except LatencyError:
            raise
        except Exception as error:  # The stages of the compiler raise errors of many kinds.
            raise LatencyError(
                f"torch.compile cannot run the network on an input of shape {list(input_shape)}: "
                f"{str(error).strip().partition(chr(10))[0]}"
            ) from error
        return InProcess(run)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        raise no_files(path)


def _only_compiled(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """A call of the module that fails where it is not compiled."""

    def call(x: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            raise LatencyError("PyTorch did not compile the network. Unset what turns compilation off or hides errors.")
        return module(x)

    # Compiled code is kept with the code of the function, a few networks at most: each network gets a copy of it.
    call.__code__ = call.__code__.replace()
    return call


def _compiler_version() -> str:
    """First line of the C++ compiler's --version."""
    candidates = [name for name in torch._inductor.config.cpp.cxx if name]
    compiler = next(filter(None, map(shutil.which, candidates)), None)
    if compiler is None:
        raise LatencyError(
            f"torch.compile needs a C++ compiler, and there is no {' or '.join(candidates)} here. Install one, such as "
            "g++, or name it in the environment variable CXX."
        )
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return version.partition("\n")[0] or Path(compiler).name
