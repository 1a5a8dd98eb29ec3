"""From ONNX to ncnn by ncnn's own converter, pnnx, a program next to its Python package.

Its output is checked against ONNX Runtime: pnnx guesses which axis is the batch and may silently guess wrong.
"""

import importlib.metadata
import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import check_only_input, input_sample
from efficientformer.exporting.formats.onnx import OnnxFormat
from efficientformer.exporting.formats.reductions import reduce_over_two_axes
from efficientformer.exporting.onnx_graph import declared_inputs, read_graph
from efficientformer.leftovers import temporary_folder

TIMEOUT_S = 900.0
NUM_LAST_LINES = 4
# What pnnx calls the batch axis of an input that keeps all its axes.
NO_BATCH = 233
# Width, height, depth, channels, as a .param file numbers the sizes of an input.
INPUT_AXES = ("0", "1", "11", "2")
TOLERANCE = 1e-2
"""Largest difference from ONNX Runtime, as a share of the largest output."""


class NcnnFormat(OnnxFormat):
    """Makes .param and .bin in single precision. Raises LatencyError when pnnx is not installed."""

    suffixes = (".onnx", ".param")

    def __init__(self) -> None:
        self._program = _program()
        self.options = {"converter": f"pnnx {importlib.metadata.version('pnnx')}"}

    def lower(self, path: Path, input_shape: tuple[int, ...], folder: Path) -> Path:
        if path.suffix == ".param":
            return path
        model = read_graph(path)
        check_only_input(path, declared_inputs(model), input_shape)
        if input_shape[0] != 1:
            raise LatencyError(f"ncnn runs one image at a time, not {input_shape[0]}. Choose another runtime.")
        reduce_over_two_axes(model)
        with temporary_folder() as scratch:
            rewritten = Path(scratch) / "network.onnx"
            onnx.save_model(model, rewritten)
            shape = ",".join(map(str, input_shape))
            printed = self._run([str(rewritten), f"inputshape=[{shape}]f32", "fp16=0"], Path(scratch))
            lowered = rewritten.with_suffix(".ncnn.param")
            if not lowered.is_file() or not lowered.with_suffix(".bin").is_file():
                raise LatencyError(f"pnnx cannot convert {path} for ncnn: {printed}. Measure it with another runtime.")
            _declare_input(lowered, input_shape)
            for file in (lowered, lowered.with_suffix(".bin")):
                shutil.move(file, folder / file.name)
        return folder / lowered.name

    def check(self, path: Path, input_shape: tuple[int, ...], output: np.ndarray) -> None:
        from efficientformer.exporting.parity import onnx_output

        expected = onnx_output(path, input_sample(input_shape))
        if output.size != expected.size:
            wrong = f"an output of shape {list(output.shape)} instead of {list(expected.shape)}"
        else:
            share = np.abs(output.ravel() - expected.ravel()).max() / max(np.abs(expected).max(), 1e-6)
            if share <= TOLERANCE:
                return
            wrong = f"an output that is off by {100 * share:.0f} %"
        raise LatencyError(
            f"ncnn gives {wrong} for {path}: pnnx converted it into another network. Measure it with another runtime."
        )

    def _run(self, arguments: list[str], folder: Path) -> str:
        """Run pnnx and return its last line of output."""
        command = [str(self._program), *arguments]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
            )
        except OSError as error:
            raise LatencyError(f"pnnx cannot be started: {error}. Install it again: pip install pnnx.") from error
        except subprocess.TimeoutExpired:
            return f"it took more than {TIMEOUT_S:.0f} s"
        return " | ".join((done.stdout + done.stderr).strip().splitlines()[-NUM_LAST_LINES:])


def _program() -> Path:
    package = importlib.util.find_spec("pnnx")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for name in ("pnnx", "pnnx.exe"):
            if (Path(folder) / name).is_file():
                return Path(folder) / name
    raise LatencyError(
        'ncnn needs its converter pnnx on this machine. Install it: pip install "efficientformer[ncnn]".'
    )


def _declare_input(param: Path, input_shape: tuple[int, ...]) -> None:
    """Write the input's sizes into the .param file, with the batch axis where pnnx did not drop it.

    The Python example that pnnx writes next to the network shows which it did.
    """
    example = param.with_name(param.name.replace(".ncnn.param", "_ncnn.py")).read_text(encoding="utf-8")
    kept = f"batch_index={NO_BATCH}" in example
    sizes = input_shape if kept else input_shape[1:]
    axes = INPUT_AXES if len(sizes) != 3 else INPUT_AXES[:2] + INPUT_AXES[3:]
    declared = " ".join(f"{axis}={size}" for axis, size in zip(axes, reversed(sizes), strict=False))
    lines = param.read_text(encoding="utf-8").splitlines()
    lines = [f"{line} {declared}" if line.startswith("Input ") else line for line in lines]
    param.write_text("\n".join(lines) + "\n", encoding="utf-8")
