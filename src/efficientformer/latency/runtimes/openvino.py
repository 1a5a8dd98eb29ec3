"""OpenVINO on the CPU, in full precision.

Its Python package reports every import to its maker, unless its telemetry client is missing; so it is imported with
that client hidden.
"""

import functools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import check_only_input, existing_file, fed_sample, in_one_line
from efficientformer.latency.prepared import InProcess
from efficientformer.latency.runtime import InThisProcess, OpensFiles

DEVICE = "CPU"
TELEMETRY = "openvino_telemetry"


class OpenVino(OpensFiles, InThisProcess):
    """`threads` threads inside each operator, one stream, single precision although the CPU may offer bfloat16."""

    name = "openvino"
    suffixes = (".onnx", ".xml")

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        self._openvino = _import_openvino()

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self._openvino.__version__,
            "compute_unit": DEVICE,
            "precision": "fp32",
            "options": {
                "performance_hint": "latency",
                "num_streams": 1,
                "intra_op_threads": self.threads,
                "inference_precision": "float32",
                "cpu_pinning": False,
            },
        }

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        model = self.read(existing_file(path, self.suffixes))
        inputs = [declared(item) for item in model.inputs]
        check_only_input(path, inputs, input_shape)
        # The tensor shares the memory of its array, which the closure keeps.
        x = fed_sample(path, inputs[0][0], model.input().element_type.get_type_name(), input_shape)
        try:
            model.reshape(list(input_shape))  # A file may leave sizes open; fixed ones run fastest.
            request = self.compile(model).create_infer_request()
            request.set_input_tensor(self._openvino.Tensor(x, shared_memory=True))
            request.infer()
        except RuntimeError as error:
            raise LatencyError(f"{path} cannot be run by OpenVINO: {in_one_line(error)}.") from error

        def run() -> Any:
            request.infer()
            return request, x

        return InProcess(run, first_output=lambda _: request.get_output_tensor(0).data.copy())

    def read(self, path: Path) -> Any:
        try:
            if path.suffix == ".onnx":
                # Asked by name: a guess would hand a broken file to the readers of every other format too.
                reader = self._openvino.frontend.FrontEndManager().load_by_framework("onnx")
                return reader.convert(reader.load(str(path)))
            return _core().read_model(path)
        except Exception as error:  # Its readers have exceptions of their own, of no common kind.
            raise LatencyError(
                f"OpenVINO cannot open {path}: {in_one_line(error)}. Export the network again."
            ) from error

    def compile(self, model: Any, *, counts_time: bool = False) -> Any:
        """A compiled model; with `counts_time` it keeps the time of each operator, which costs a little."""
        asked = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            # Pinning is the timer's choice.
            "ENABLE_CPU_PINNING": False,
            "PERF_COUNT": counts_time,
        }
        compiled = _core().compile_model(model, DEVICE, asked)
        expected = {
            "EXECUTION_DEVICES": [DEVICE],
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": self._openvino.Type.f32,
        }
        for name, value in expected.items():
            if (actual := compiled.get_property(name)) != value:
                raise LatencyError(f"OpenVINO would run with {name} {actual} instead of {value}.")
        return compiled


@functools.cache
def _import_openvino() -> ModuleType:
    hidden = TELEMETRY not in sys.modules
    if hidden:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Importing it now fails, as if it were missing.
    try:
        import openvino
        import openvino.frontend
    finally:
        if hidden:
            del sys.modules[TELEMETRY]
    return openvino


@functools.cache
def _core() -> Any:
    """One for the whole process, never freed.

    Each gives its thread another stack for signal handlers and takes that memory back when it is freed. Of several that
    end in the order they began, the last stack stays set although it is gone: the next signal with a handler, such as
    Ctrl-C, would end the program.
    """
    return _import_openvino().Core()


def declared(item: Any) -> tuple[str, list[int | None]]:
    """Name and shape of an input or output; None for sizes that are open."""
    return item.any_name, [size.get_length() if size.is_static else None for size in item.partial_shape]
