"""ONNX Runtime on the CPU, with every graph optimization.

Below the highest level it keeps plain convolution layouts, which made EfficientFormer-L1 run 1.5 times slower.
"""

from operator import itemgetter
from pathlib import Path
from typing import Any

import onnxruntime

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import check_only_input, existing_file, fed_sample, in_one_line
from efficientformer.latency.prepared import InProcess
from efficientformer.latency.runtime import InThisProcess, OpensFiles

PROVIDER = "CPUExecutionProvider"
ERRORS_ONLY = 3


class OnnxRuntime(OpensFiles, InThisProcess):
    """`threads` threads inside each operator, operators one after another."""

    name = "onnxruntime"
    suffixes = (".onnx",)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": onnxruntime.__version__,
            "compute_unit": PROVIDER,
            "precision": "fp32",
            "options": {
                "graph_optimization": "all",
                "execution_mode": "sequential",
                "intra_op_threads": self.threads,
                "inter_op_threads": 1,
                "spinning": "within a call" if self.threads > 1 else "none",
            },
        }

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        return self._open(path, input_shape, self.session_options())

    def open_as_written(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        """The graph operator by operator, without any optimization: what a quantized file means, before a runtime
        computes it with integers of its own."""
        options = self.session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return self._open(path, input_shape, options)

    def _open(self, path: Path, input_shape: tuple[int, ...], options: onnxruntime.SessionOptions) -> InProcess:
        session = self.session(existing_file(path, self.suffixes), options)
        inputs = session.get_inputs()
        check_only_input(path, [(item.name, item.shape) for item in inputs], input_shape)
        feed = {inputs[0].name: fed_sample(path, inputs[0].name, inputs[0].type, input_shape)}
        try:
            session.run(None, feed)
        except Exception as error:  # The runtime's exceptions share no base class of their own.
            raise LatencyError(f"{path} cannot be run by ONNX Runtime: {in_one_line(error)}.") from error
        return InProcess(lambda: session.run(None, feed), first_output=itemgetter(0))

    def session_options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # Threads of the session before would else go on spinning for a while and take a core from this one.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def session(self, path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        """A session on an existing file. Raises LatencyError when it would not be this runtime's."""
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
        except Exception as error:  # The runtime's exceptions share no base class of their own.
            raise LatencyError(
                f"ONNX Runtime cannot open {path}: {in_one_line(error)}. Export the network again."
            ) from error
        if session.get_providers() != [PROVIDER]:
            raise LatencyError(f"{path} would run on {session.get_providers()} instead of {PROVIDER}.")
        return session
