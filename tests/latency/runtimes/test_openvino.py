import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from efficientformer.errors import LatencyError

from .conftest import SHAPE

openvino = pytest.importorskip("efficientformer.latency.runtimes.openvino")


def test_nothing_is_told_to_its_maker(onnx_file, tmp_path):
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "from pathlib import Path\n"
        "from efficientformer.latency.devices import open_runtime\n"
        f"open_runtime('openvino').open(Path({str(onnx_file)!r}), {SHAPE}).output()\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__, 'openvino_telemetry' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]
    assert not list(tmp_path.iterdir())


def test_its_own_format_is_opened_too(onnx_file, tmp_path):
    runtime = openvino.OpenVino(1)
    import openvino as package

    package.save_model(package.Core().read_model(onnx_file), tmp_path / "network.xml", compress_to_fp16=False)
    from_onnx = runtime.open(onnx_file, SHAPE).output()
    assert np.abs(runtime.open(tmp_path / "network.xml", SHAPE).output() - from_onnx).max() < 1e-5


def test_fewer_threads_than_asked_for_are_an_error(onnx_file):
    with pytest.raises(LatencyError, match=r"INFERENCE_NUM_THREADS .* instead of 4096"):
        openvino.OpenVino(4096).open(onnx_file, SHAPE)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signals on this system")
def test_signals_still_arrive_when_networks_are_gone(onnx_file):
    program = (
        "import faulthandler, gc, os, signal\n"
        "from pathlib import Path\n"
        "from efficientformer.latency.devices import open_runtime\n"
        "faulthandler.enable()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('arrived'))\n"
        "runtime = open_runtime('openvino')\n"
        f"networks = [runtime.open(Path({str(onnx_file)!r}), {SHAPE}) for _ in range(3)]\n"
        "while networks: networks.pop(0); gc.collect()\n"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "arrived\n")
