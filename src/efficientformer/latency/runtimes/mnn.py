"""MNN on the CPU, by way of ONNX.

Its GELU is the tanh form of the exact one, so its outputs differ from PyTorch's by some thousandths. Files are
converted by the extension module of its package in a process of its own, since it reports failure only as text;
the package's converter script is never run: it installs further packages and reports its use.
"""

import contextlib
import ctypes
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import check_only_input, existing_file, input_sample
from efficientformer.latency.prepared import InProcess
from efficientformer.latency.runtime import InThisProcess, OpensFiles
from efficientformer.leftovers import temporary_folder

CONVERT = "import _tools, sys; _tools.mnnconvert(sys.argv)"
CONVERT_TIMEOUT_S = 300.0
"""Half of what a worker may take to open a network, so that this is the error."""
STDOUT = 1


class Mnn(OpensFiles, InThisProcess):
    """`threads` threads in single precision, which MNN calls high: lower ones may compute in halves where they can."""

    name = "mnn"
    suffixes = (".onnx", ".mnn")

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        self._mnn = _import_mnn()

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self._mnn.version(),
            "compute_unit": "CPU",
            "precision": "fp32",
            "options": {"precision": "high", "gelu": "tanh", "intra_op_threads": self.threads},
        }

    def open(self, path: Path, input_shape: tuple[int, ...]) -> InProcess:
        path = existing_file(path, self.suffixes)
        if path.suffix == ".mnn":
            return self._open(path, input_shape, path)
        with temporary_folder() as folder:
            return self._open(_converted(path, Path(folder) / "converted.mnn"), input_shape, path)

    def _open(self, converted: Path, input_shape: tuple[int, ...], path: Path) -> InProcess:
        mnn = self._mnn
        with _printing_nothing():
            try:
                interpreter = mnn.Interpreter(str(converted))
                session = interpreter.createSession(
                    {"backend": "CPU", "numThread": self.threads, "precision": "high", "memory": "normal"}
                )
            except Exception as error:  # The package raises bare exceptions, without a message.
                raise LatencyError(f"MNN cannot open {path}: it is no network. Export the network again.") from error
            inputs = interpreter.getSessionInputAll(session)
            declared = [(name, [size if size > 0 else None for size in x.getShape()]) for name, x in inputs.items()]
            check_only_input(path, declared, input_shape)
            (device_input,) = inputs.values()
            if tuple(device_input.getShape()) != input_shape:  # A file may leave sizes open.
                interpreter.resizeTensor(device_input, input_shape)
                interpreter.resizeSession(session)
        types = {mnn.Halide_Type_Float: np.float32, mnn.Halide_Type_Uint8: np.uint8}
        kind = device_input.getDataType()
        if kind not in types:
            raise LatencyError(f"MNN feeds float32 and uint8 only, and {path} takes another type. Export it for these.")
        x = self._host_tensor(input_sample(input_shape, types[kind]), kind)

        def run() -> None:
            # Its memory is used for other things during a call, so every call begins by filling it.
            device_input.copyFrom(x)
            if interpreter.runSession(session) != 0:
                raise LatencyError(f"{path} cannot be run by MNN on an input of shape {list(input_shape)}.")

        def output(_: None) -> np.ndarray:
            on_device = interpreter.getSessionOutput(session)
            shape = on_device.getShape()
            y = self._host_tensor(np.zeros(shape, dtype=np.float32), mnn.Halide_Type_Float)
            on_device.copyToHostTensor(y)
            return y.getNumpyData().reshape(shape).copy()

        run()
        return InProcess(run, first_output=output)

    def _host_tensor(self, values: np.ndarray, kind: Any) -> Any:
        """A copy of `values`, of a type of MNN's, in NCHW order."""
        return self._mnn.Tensor(values.shape, kind, values, self._mnn.Tensor_DimensionType_Caffe)


def _converted(path: Path, converted: Path) -> Path:
    request = ["-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(converted), "--bizCode", "efficientformer"]
    # -P: the current folder, whose files may have the names of modules, is not imported from.
    command = [sys.executable, "-P", "-c", CONVERT, *request]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=CONVERT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LatencyError(
            f"MNN did not convert {path} within {CONVERT_TIMEOUT_S:.0f} s. Measure it with another runtime."
        ) from error
    if not converted.is_file():
        printed = " ".join((done.stdout + done.stderr).split("\n")[-4:]).strip(" .")
        raise LatencyError(f"MNN cannot convert {path}: {printed}. Export the network again.")
    return converted


@functools.cache
def _import_mnn() -> ModuleType:
    with _printing_nothing():
        import MNN
    return MNN


@contextlib.contextmanager
def _printing_nothing() -> Iterator[None]:
    """MNN prints a line for every network it opens; standard output belongs to the results."""
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)
    try:
        yield
    finally:
        with contextlib.suppress(TypeError):  # Windows has no library of that name.
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, STDOUT)
        os.close(kept)
