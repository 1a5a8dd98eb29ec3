"""ONNX Runtime on the CPU, with every graph optimization.

Below the highest level it keeps plain convolution layouts, which made EfficientFormer-L1 run 1.5 times slower.
"""

import tempfile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime

from efficientformer.errors import LatencyError
from efficientformer.latency.prepared import InProcess, input_sample
from efficientformer.provenance import machine

if TYPE_CHECKING:
    from torch import nn

PROVIDER = "CPUExecutionProvider"
ERRORS_ONLY = 3


class OnnxRuntime:
    """`threads` threads inside each operator, operators one after another."""

    name = "onnxruntime"

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": onnxruntime.__version__,
            "compute_unit": PROVIDER,
            "options": {
                "graph_optimization": "all",
                "execution_mode": "sequential",
                "intra_op_threads": self.threads,
                "inter_op_threads": 1,
                "spinning": "within a call" if self.threads > 1 else "none",
            },
        }

    def machine(self) -> dict[str, Any]:
        return machine()

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> InProcess:
        """Export to a temporary ONNX file and open that."""
        from efficientformer.export.onnx import export_onnx

        with tempfile.TemporaryDirectory(prefix="efficientformer-") as folder:
            path = Path(folder) / "part.onnx"
            export_onnx(module, input_shape, path)
            return self.open(path, input_shape)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        session = self._session(Path(path))
        inputs = session.get_inputs()
        if len(inputs) != 1 or not _fits(inputs[0].shape, input_shape):
            found = ", ".join(f"{item.name} {item.shape}" for item in inputs)
            raise LatencyError(
                f"{path} takes {found}, not one input of shape {list(input_shape)}. Choose its resolution."
            )
        name = inputs[0].name
        feed = {name: input_sample(input_shape)}
        try:
            session.run(None, feed)
        except Exception as error:  # The runtime's exceptions share no base class of their own.
            raise LatencyError(f"{path} cannot be run by ONNX Runtime: {error}") from error
        return InProcess(lambda: session.run(None, feed), first_output=itemgetter(0))

    def _session(self, path: Path) -> onnxruntime.InferenceSession:
        if not path.is_file():
            raise LatencyError(f"{path} does not exist. Give the path of an exported .onnx file.")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # Threads of the session before would else go on spinning for a while and take a core from this one.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
        except Exception as error:  # The runtime's exceptions share no base class of their own.
            raise LatencyError(f"ONNX Runtime cannot open {path}: {error}. Export the network again.") from error
        if session.get_providers() != [PROVIDER]:
            raise LatencyError(f"{path} would run on {session.get_providers()} instead of {PROVIDER}.")
        return session


def _fits(declared: list[int | str | None], shape: tuple[int, ...]) -> bool:
    """Whether a shape fits the declared one, in which names and None stand for any size."""
    return len(declared) == len(shape) and all(
        not isinstance(size, int) or size == given for size, given in zip(declared, shape, strict=True)
    )
