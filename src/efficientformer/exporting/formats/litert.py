"""LiteRT files (.tflite), made by litert-torch in a Python of its own.

litert-torch requires one exact version of PyTorch and several gigabytes of packages, so it rarely fits into an
environment with others. Modules are exported here as programs and converted by one process of the other environment,
which serves all modules since it takes seconds to start.
"""

import contextlib
import copy
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficientformer.errors import LatencyError
from efficientformer.exporting.formats.onnx import OnnxFormat
from efficientformer.leftovers import temporary_folder
from efficientformer.records import atomic_path

if TYPE_CHECKING:
    from torch import nn

WORKER = Path(__file__).with_name("litert_worker.py")
# Nothing is imported from the folder that it runs in, where anybody may write.
PREFACE = "import sys; sys.path[:] = filter(None, sys.path)\n"
TIMEOUT_S = 900.0
MAX_ANSWER = 1 << 20
REMEDY = (
    "Give litert-torch an environment of its own: python3 -m venv litert && litert/bin/pip install litert-torch, "
    "then --litert-python litert/bin/python."
)


class LiteRTFormat(OnnxFormat):
    """Converted by litert-torch in the Python at `converter_python`, or in this one."""

    suffixes = (".tflite",)

    def __init__(self, converter_python: str | None = None) -> None:
        self._converter = LiteRTConverter(converter_python)

    def write(self, module: "nn.Module", input_shape: tuple[int, ...], folder: Path) -> Path:
        path = folder / "network.tflite"
        self._converter.convert(module, input_shape, path)
        return path


class LiteRTConverter:
    """Converts modules with the Python at `python`, or with this one where it has litert-torch.

    The process starts with the first module and ends with this object. Raises LatencyError, then, without a Python.
    """

    def __init__(self, python: str | None = None) -> None:
        self._python = python
        self._process: subprocess.Popen[str] | None = None
        self._messages = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115

    def convert(self, module: "nn.Module", input_shape: tuple[int, ...], path: Path) -> None:
        """Write `module` for inputs of exactly `input_shape`. Raises LatencyError when it cannot be converted."""
        with temporary_folder() as folder, atomic_path(path) as temporary:
            program = Path(folder) / "program.pt2"
            _save_program(module, input_shape, program)
            answer = self._ask({"program": str(program), "input_shape": input_shape, "target": str(temporary)})
            if "error" in answer:
                raise LatencyError(f"litert-torch cannot convert the network: {answer['error']}")

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        is_late = threading.Event()
        watchdog = threading.Timer(TIMEOUT_S, lambda: (is_late.set(), process.kill()))
        watchdog.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline(MAX_ANSWER))
            if not isinstance(answer, dict):
                raise ValueError(answer)
            return answer
        except (OSError, ValueError, RecursionError) as error:
            _end(process)
            self._process = None
            self._messages.seek(0)
            last = " ".join(self._messages.read().split("\n")[-3:]).strip()
            how = f"did not answer within {TIMEOUT_S:.0f} s" if is_late.is_set() else f"ended: {last}"
            raise LatencyError(
                f"The Python that converts to LiteRT, {self._python or sys.executable}, {how}"
            ) from error
        finally:
            watchdog.cancel()

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            python = self._python or _this_python()
            try:
                # As code, not as a file, whose folder has an `onnx.py` that would hide the package of that name.
                self._process = subprocess.Popen(
                    [python, "-c", PREFACE + WORKER.read_text(encoding="utf-8")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._messages,
                    text=True,
                    cwd=tempfile.gettempdir(),
                )
            except OSError as error:
                raise LatencyError(f"--litert-python {python} cannot be started: {error.strerror}. {REMEDY}") from error
            weakref.finalize(self, _end, self._process)
            ready = self._ask({})
            if "error" in ready:
                raise LatencyError(f"{python} has no litert-torch ({ready['error']}). {REMEDY}")
        return self._process


def _this_python() -> str:
    if importlib.util.find_spec("litert_torch") is None:
        raise LatencyError(f"The network cannot be converted to LiteRT here. {REMEDY}")
    return sys.executable


def _save_program(module: "nn.Module", input_shape: tuple[int, ...], path: Path) -> None:
    import torch

    module = copy.deepcopy(module).cpu().eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (torch.zeros(input_shape),)), path)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    # Leaving waits for it and closes its pipes.
    with contextlib.suppress(OSError), process:
        pass
