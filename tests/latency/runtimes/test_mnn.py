import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample

from .conftest import SHAPE

pytest.importorskip("MNN")

from efficientformer.latency.runtimes import mnn
from efficientformer.latency.runtimes.mnn import Mnn, _converted


def test_standard_output_is_left_to_the_results(onnx_file):
    program = (
        "from pathlib import Path\n"
        "from efficientformer.latency.devices import open_runtime\n"
        "print('before')\n"
        f"prepared = open_runtime('mnn').open(Path({str(onnx_file)!r}), {SHAPE})\n"
        "print('after'); prepared.output()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\nafter\n", "")


def test_its_own_format_is_opened_too(onnx_file, tmp_path):
    converted = _converted(onnx_file, tmp_path / "network.mnn")
    assert np.array_equal(Mnn(1).open(converted, SHAPE).output(), Mnn(1).open(onnx_file, SHAPE).output())
    converted.write_bytes(b"not a network")
    with pytest.raises(LatencyError, match=r"cannot open .*Export the network again"):
        Mnn(1).open(converted, SHAPE)


def test_gelu_is_an_approximation_as_described():
    class Gelu(nn.Module):
        def forward(self, x):
            return nn.functional.gelu(2 * x)

    shape = (1, 8, 16, 16)
    exact = nn.functional.gelu(2 * torch.from_numpy(input_sample(shape))).numpy()
    difference = np.abs(Mnn(1).prepare(Gelu(), shape).output() - exact).max()
    assert Mnn(1).describe()["options"]["gelu"] == "tanh" and 1e-4 < difference < 1e-3


def test_a_conversion_that_hangs_ends_in_one_line(onnx_file, monkeypatch):
    monkeypatch.setattr(mnn, "CONVERT", "import time; time.sleep(600)")
    monkeypatch.setattr(mnn, "CONVERT_TIMEOUT_S", 0.5)
    with pytest.raises(LatencyError, match=r"MNN did not convert .*\.onnx within 0 s"):
        mnn.Mnn().open(onnx_file, SHAPE)


def test_a_converter_may_print_anything(onnx_file, monkeypatch):
    monkeypatch.setattr(mnn, "CONVERT", r"import sys; sys.stdout.buffer.write(b'caf\xe9 \xff')")
    with pytest.raises(LatencyError, match=r"MNN cannot convert .*caf"):
        mnn.Mnn().open(onnx_file, SHAPE)
