"""LiteRT (once TensorFlow Lite) on the CPU, whose XNNPACK kernels were the fastest of all runtimes tried."""

from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import check_only_input, existing_file, input_sample
from efficientformer.exporting.formats.format import Format
from efficientformer.exporting.formats.open import open_format
from efficientformer.latency.prepared import InProcess
from efficientformer.latency.runtime import InThisProcess, OpensFiles

DELEGATE = "XNNPACK"


class LiteRT(OpensFiles, InThisProcess):
    """`threads` threads; files for it are made by the Python at `converter_python`, or by this one.

    See `exporting.formats.litert` for what a Python that converts needs.
    """

    name = "litert"
    suffixes = (".tflite",)

    def __init__(self, threads: int = 1, converter_python: str | None = None) -> None:
        super().__init__(threads)
        self._format = open_format("tflite", converter_python)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": ai_edge_litert.__version__,
            "compute_unit": f"CPU, {DELEGATE}",
            "precision": "fp32",
            "options": {"delegate": DELEGATE, "intra_op_threads": self.threads},
        }

    @property
    def format(self) -> Format:
        return self._format

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        path = existing_file(path, self.suffixes)
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=self.threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise LatencyError(f"LiteRT cannot open {path}: {error}. Convert the network again.") from error
        inputs = interpreter.get_input_details()
        check_only_input(path, [(item["name"], [int(size) for size in item["shape"]]) for item in inputs], input_shape)
        # Without the delegate the slow reference kernels would run silently.
        if not any(operator["op_name"] == "DELEGATE" for operator in interpreter._get_ops_details()):
            raise LatencyError(f"{path} would run without {DELEGATE}: it has no operator that {DELEGATE} runs.")
        output = interpreter.get_output_details()[0]["index"]
        interpreter.set_tensor(inputs[0]["index"], input_sample(input_shape, inputs[0]["dtype"]))
        interpreter.invoke()
        return InProcess(interpreter.invoke, first_output=lambda _: np.array(interpreter.get_tensor(output)))
