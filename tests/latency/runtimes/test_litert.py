"""The converter has an environment of its own, so most tests have a stand-in for it that writes what it was given.

With EFFICIENTFORMER_LITERT_PYTHON, the path of a Python that has litert-torch, the real one is tested as well.
`small.tflite` was made by litert-torch 0.10.0 from `small_network()` for inputs of shape (1, 3, 16, 16).
"""

import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.exporting.formats.litert import LiteRTConverter
from efficientformer.latency.prepared import Calls

from .conftest import SHAPE

pytest.importorskip("ai_edge_litert")

from efficientformer.latency.runtimes.litert import LiteRT

SMALL_FILE = Path(__file__).with_name("small.tflite")
SMALL_SHAPE = (1, 3, 16, 16)
REAL_PYTHON = os.environ.get("EFFICIENTFORMER_LITERT_PYTHON")
STAND_IN = """
import os, sys, torch
class convert:
    def __init__(self, module, inputs):
        print("progress that is no answer")
        if os.environ.get("CRASH"):
            sys.stderr.write("no such device\\n")
            os._exit(3)
        self.output = module(*inputs)
        if self.output.shape[1] == 13:
            raise ValueError("13 channels are unlucky")
    def export(self, path):
        open(path, "w").write(f"{os.getpid()} {list(self.output.shape)}")
"""


def small_network():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(256, 5)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.sin(torch.arange(parameter.numel())).reshape(parameter.shape))
    return network.eval()


def expected(network, shape):
    with torch.no_grad():
        return network(torch.from_numpy(input_sample(shape))).numpy()


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A Python with something called litert_torch."""
    (tmp_path / "litert_torch.py").write_text(STAND_IN)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(tmp_path))} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return str(python)


def test_a_file_gives_what_the_network_gives():
    network = LiteRT(1).open(SMALL_FILE, SMALL_SHAPE)
    assert network.output() == pytest.approx(expected(small_network(), SMALL_SHAPE), abs=1e-4)
    assert network.sample(Calls(1, 3), "cpu") > 0


def test_one_thread_computes_in_the_calling_thread():
    run = LiteRT(1).open(SMALL_FILE, SMALL_SHAPE).run
    run()
    thread, process = time.thread_time_ns(), time.process_time_ns()
    for _ in range(20_000):
        run()
    thread, process = time.thread_time_ns() - thread, time.process_time_ns() - process
    # Threads that other tests left behind may be awake; a computing thread of LiteRT's would leave this one idle.
    assert thread > 0.6 * process


def test_files_that_cannot_be_run_are_refused(tmp_path):
    path = tmp_path / "network.tflite"
    with pytest.raises(LatencyError, match="does not exist"):
        LiteRT(1).open(path, SMALL_SHAPE)
    path.write_bytes(b"not a network")
    with pytest.raises(LatencyError, match=r"cannot open .*Convert the network again"):
        LiteRT(1).open(path, SMALL_SHAPE)
    with pytest.raises(LatencyError, match=r"not one input of shape \[1, 3, 32, 32\]"):
        LiteRT(1).open(SMALL_FILE, (1, 3, 32, 32))
    with pytest.raises(LatencyError, match=r"not a \.tflite file"):
        LiteRT(1).open(path.with_suffix(".onnx"), SMALL_SHAPE)


def test_one_process_converts_all_networks(stand_in, tmp_path):
    converter = LiteRTConverter(stand_in)
    for width in (8, 16):
        converter.convert(nn.Conv2d(3, width, 3), SMALL_SHAPE, tmp_path / f"{width}.tflite")
    (first, shape), (second, wide_shape) = (
        (tmp_path / f"{width}.tflite").read_text().split(" ", 1) for width in (8, 16)
    )
    assert first == second and (shape, wide_shape) == ("[1, 8, 14, 14]", "[1, 16, 14, 14]")


def test_a_network_that_cannot_be_converted_leaves_the_converter_alive(stand_in, tmp_path):
    converter, path = LiteRTConverter(stand_in), tmp_path / "network.tflite"
    with pytest.raises(LatencyError, match="cannot convert the network: ValueError: 13 channels are unlucky"):
        converter.convert(nn.Conv2d(3, 13, 3), SMALL_SHAPE, path)
    assert not path.exists()
    converter.convert(nn.Conv2d(3, 8, 3), SMALL_SHAPE, path)
    assert path.exists()


def test_a_converter_that_ends_is_told_by_its_last_words(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("CRASH", "1")
    with pytest.raises(LatencyError, match=r"ended: .*no such device"):
        LiteRTConverter(stand_in).convert(nn.Conv2d(3, 8, 3), SMALL_SHAPE, tmp_path / "network.tflite")


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ("exec sleep 300", "did not answer within 1 s"),
        ("while read line; do echo '[]'; done", "ended"),
        ("exec yes no", "ended"),
        ("exec cat /dev/zero", "ended"),
    ],
)
def test_a_converter_that_answers_wrongly_or_not_at_all_is_one_line(answers, told, tmp_path, monkeypatch):
    monkeypatch.setattr("efficientformer.exporting.formats.litert.TIMEOUT_S", 1.0)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{answers}\n")
    python.chmod(0o755)
    with pytest.raises(LatencyError, match=f"converts to LiteRT, .*{told}") as error:
        LiteRTConverter(str(python)).convert(nn.Conv2d(3, 8, 3), SMALL_SHAPE, tmp_path / "network.tflite")
    assert "\n" not in str(error.value)


def test_a_missing_converter_names_the_remedy(tmp_path):
    for python, problem in ((None, "cannot be converted to LiteRT here"), (sys.executable, "has no litert-torch")):
        if python is None or not REAL_PYTHON:
            with pytest.raises(LatencyError, match=f"{problem}.*litert/bin/pip install litert-torch.*--litert-python"):
                LiteRTConverter(python).convert(nn.Conv2d(3, 8, 3), SMALL_SHAPE, tmp_path / "network.tflite")
    with pytest.raises(LatencyError, match=r"--litert-python /no/python cannot be started.*pip install"):
        LiteRTConverter("/no/python").convert(nn.Conv2d(3, 8, 3), SMALL_SHAPE, tmp_path / "network.tflite")


@pytest.mark.skipif(REAL_PYTHON is None, reason="EFFICIENTFORMER_LITERT_PYTHON is not set")
def test_litert_torch_converts_a_network(network):
    converted = LiteRT(1, REAL_PYTHON).prepare(network, SHAPE).output()
    assert np.abs(converted - expected(network, SHAPE)).max() < 1e-4
