"""ncnn on the CPU, in single precision. It crashes on graphs that it cannot run, so it is used in workers only.

Opens what `exporting.formats.ncnn` makes of an ONNX file. Its arrays have no batch axis: it runs one image at a time.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import ncnn
import numpy as np
from ncnn import Mat, Net  # pyright: ignore[reportAttributeAccessIssue] (names of its extension module)

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import check_only_input, existing_file, input_sample
from efficientformer.latency.prepared import InProcess
from efficientformer.latency.runtime import InThisProcess

if TYPE_CHECKING:
    from torch import nn

HALF_PRECISION = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
)
# Channels, depth, height, width, as a .param file numbers the sizes of an input.
INPUT_AXES = ("2", "11", "1", "0")


class Ncnn(InThisProcess):
    """`threads` threads inside each layer."""

    name = "ncnn"
    suffixes = (".param",)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": ncnn.__version__,
            "compute_unit": "CPU",
            "precision": "fp32",
            "options": {"winograd": True, "packing": True, "intra_op_threads": self.threads},
        }

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> InProcess:
        raise LatencyError("ncnn may crash, so modules are prepared for it in a worker: open_runtime('ncnn').")

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        path = existing_file(path, self.suffixes)
        if input_shape[0] != 1:
            raise LatencyError(f"ncnn runs one image at a time, not {input_shape[0]}. Choose another runtime.")
        net = self._net(path)
        declared = _declared_input(path)
        has_batch = len(declared) == len(input_shape)
        shape = input_shape if has_batch else input_shape[1:]
        check_only_input(path, [(name, declared or shape) for name in net.input_names()], shape)
        borrowed = input_sample(input_shape).reshape(shape)
        # A copy that ncnn owns: layers that work in place would write into borrowed memory, or crash.
        x = Mat(borrowed).clone()
        input_index, output_index = net.input_indexes()[0], net.output_indexes()[0]

        def run() -> Mat:
            # An extractor keeps what it has computed, so each call needs a new one.
            extractor = net.create_extractor()
            extractor.input(input_index, x)
            status, y = extractor.extract(output_index)
            if status != 0:
                raise LatencyError(f"ncnn cannot run {path} (status {status}). Measure it with another runtime.")
            return y

        run()
        return InProcess(run, first_output=lambda y: np.array(y)[... if has_batch else None])

    def _net(self, path: Path) -> Net:
        net = Net()
        net.opt.num_threads = self.threads
        net.opt.use_vulkan_compute = False
        for option in HALF_PRECISION:
            if hasattr(net.opt, option):
                setattr(net.opt, option, False)
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise LatencyError(
                f"{weights} is missing: an ncnn network is a .param file and a .bin file in the same folder."
            )
        if net.load_param(str(path)) != 0 or net.load_model(str(weights)) != 0:
            raise LatencyError(f"ncnn cannot open {path}: it may hold layers that this version does not have.")
        return net


def _declared_input(path: Path) -> tuple[int, ...]:
    """The shape that the file gives to its input, outermost axis first; empty where it gives none."""
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["Input"]:
            sizes = dict(word.split("=", 1) for word in words if "=" in word)
            return tuple(int(sizes[axis]) for axis in INPUT_AXES if axis in sizes)
    return ()
