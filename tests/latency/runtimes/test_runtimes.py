"""What every runtime must keep, asked of those that are installed here and prepare networks in seconds."""

import subprocess
import sys
import time
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.files import input_sample
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.prepared import Calls
from efficientformer.latency.runtime import RUNTIME_NAMES

from .conftest import SHAPE, random_network

PACKAGES = {"openvino": "openvino", "mnn": "MNN"}
READERS = ("onnxruntime", "openvino", "mnn")
# Largest difference to eager PyTorch, as a share of the outputs' spread.
TOLERANCES = {"mnn": 2e-3}
TOLERANCE = 1e-4


def _params(*names):
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(name in PACKAGES and find_spec(PACKAGES[name]) is None, reason="not installed"),
        )
        for name in names
    ]


every_runtime = pytest.mark.parametrize("name", _params(*READERS, "pytorch"))
every_reader = pytest.mark.parametrize("name", _params(*READERS))


def check_output(name, output, network, shape=SHAPE):
    with torch.no_grad():
        expected = network(torch.from_numpy(input_sample(shape))).numpy()
    assert output.shape == expected.shape and output.dtype == np.float32
    assert np.abs(output - expected).max() < TOLERANCES.get(name, TOLERANCE) * expected.std()


def check_calling_thread(prepared):
    prepared.sample(Calls(3, 1), "cpu")
    thread, process = time.thread_time_ns(), time.process_time_ns()
    prepared.sample(Calls(0, 100), "cpu")
    thread, process = time.thread_time_ns() - thread, time.process_time_ns() - process
    assert thread > 0.6 * process  # Others that earlier tests left awake may take some, a pool would take it all.


@every_runtime
def test_outputs_are_those_of_the_network(name, network):
    check_output(name, open_runtime(name).prepare(network, SHAPE).output(), network)


@every_runtime
def test_one_thread_computes_in_the_calling_thread(name, network):
    check_calling_thread(open_runtime(name).prepare(network, SHAPE))


@every_runtime
def test_two_threads_compute_the_same(name, network):
    runtime = open_runtime(name, 2)
    assert runtime.threads == 2
    check_output(name, runtime.prepare(network, SHAPE).output(), network)


@every_runtime
def test_networks_of_several_sizes_live_side_by_side(name):
    runtime = open_runtime(name)
    networks = {resolution: random_network(resolution, resolution) for resolution in (16, 32)}
    prepared = {size: runtime.prepare(network, (1, 3, size, size)) for size, network in networks.items()}
    for _ in range(3):
        for size, network in networks.items():
            check_output(name, prepared[size].output(), network, (1, 3, size, size))


@every_runtime
def test_description_tells_version_unit_and_threads(name):
    description = open_runtime(name, 2).describe()
    assert set(description) == {"name", "version", "compute_unit", "precision", "options"}
    assert description["name"] == name and description["version"]
    assert description["options"]["intra_op_threads"] == 2
    assert description["compute_unit"] in ("cpu", "CPU", "CPUExecutionProvider")


@every_reader
def test_files_and_modules_give_the_same(name, network, onnx_file):
    runtime = open_runtime(name)
    from_file = runtime.open(onnx_file, SHAPE).output()
    assert ".onnx" in runtime.suffixes
    assert np.array_equal(from_file, runtime.prepare(network, SHAPE).output())


@every_reader
def test_sizes_that_a_file_leaves_open_are_set(name, tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    path = tmp_path / "open.onnx"
    axes = {"x": {0: "batch", 2: "height", 3: "width"}}
    _export(module, torch.zeros(1, 3, 16, 16), path, input_names=["x"], dynamic_axes=axes)
    for size in (24, 40):
        check_output(name, open_runtime(name).open(path, (1, 3, size, size)).output(), module, (1, 3, size, size))
    with pytest.raises(LatencyError, match=r"not one input of shape \[1, 4, 24, 24\]"):
        open_runtime(name).open(path, (1, 4, 24, 24))


@every_reader
def test_files_that_cannot_be_run_are_refused(name, onnx_file, tmp_path):
    runtime = open_runtime(name)
    with pytest.raises(LatencyError, match=r"not one input of shape \[1, 3, 64, 64\]\. Choose its resolution"):
        runtime.open(onnx_file, (1, 3, 64, 64))
    path = tmp_path / "network.onnx"
    with pytest.raises(LatencyError, match="does not exist"):
        runtime.open(path, SHAPE)
    path.write_bytes(b"not a network" * 100)
    with pytest.raises(LatencyError, match=r"cannot (open|convert) .*Export the network again"):
        runtime.open(path, SHAPE)
    path.write_bytes(onnx_file.read_bytes()[:-1000])
    with pytest.raises(LatencyError, match=r"cannot (open|convert) .*Export the network again"):
        runtime.open(path, SHAPE)
    path.rename(tmp_path / "network.pt")
    with pytest.raises(LatencyError, match=r"not a \.onnx"):
        runtime.open(tmp_path / "network.pt", SHAPE)


@every_reader
def test_files_of_two_inputs_are_refused(name, tmp_path):
    class Sum(nn.Module):
        def forward(self, a, b):
            return a + b

    path = tmp_path / "sum.onnx"
    _export(Sum(), (torch.zeros(SHAPE), torch.zeros(SHAPE)), path, input_names=["a", "b"])
    with pytest.raises(LatencyError, match=r"a \[1, 3, 32, 32\], b \[1, 3, 32, 32\], not one input"):
        open_runtime(name).open(path, SHAPE)


@pytest.mark.parametrize(
    ("name", "package", "remedy"),
    [
        ("onnxruntime", "onnxruntime", "pip install onnxruntime"),
        ("openvino", "openvino", 'pip install "efficientformer[openvino]"'),
        ("pytorch", "torch", "pip install torch"),
        ("mnn", "MNN", 'pip install "efficientformer[mnn]"'),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(name, package, remedy):
    program = f"import sys; sys.modules[{package!r}] = None\n" + (
        "from efficientformer.errors import LatencyError\n"
        "from efficientformer.latency.devices import open_runtime\n"
        f"try: open_runtime({name!r})\n"
        "except LatencyError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert f"'{name}' cannot be used here" in told and package in told and remedy in told


def test_unknown_runtimes_and_no_threads_are_refused():
    with pytest.raises(UsageError, match=", ".join(RUNTIME_NAMES)):
        open_runtime("abacus")
    with pytest.raises(UsageError, match="at least one thread"):
        open_runtime("onnxruntime", 0)


def _export(module, inputs, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module, inputs, path, dynamo=False, opset_version=17, **options)
