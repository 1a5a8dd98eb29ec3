"""ncnn, always in a worker, on what pnnx makes of our networks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from efficientformer.arch.parts import Part, block_part, downsample_part, head_part, stem_part
from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.exporting.formats.ncnn import NcnnFormat
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.prepared import Calls
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.worker.runtime import WorkerRuntime
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.parts import build_part, part_input_shape

from .conftest import SHAPE, random_network

pytest.importorskip("ncnn")
pytest.importorskip("pnnx")

TOLERANCE = 1e-4
# ncnn walks a graph recursively, so one that is deep enough takes all of the stack.
DEEP = 50_000
PARTS = [
    stem_part((2, 2), 64, 16),
    block_part(MB4D(), (8, 8), 16),
    downsample_part((8, 8), 16, 32),
    Part("flatten", (4, 4), 32, 32),
    block_part(MB3D(num_heads=2, key_dim=8, value_ratio=2), (4, 4), 32),
    Part("unflatten", (4, 4), 32, 32),
    head_part((4, 4), 32, 10),
]


@pytest.fixture(scope="module")
def ncnn():
    runtime = open_runtime("ncnn")
    assert isinstance(runtime, WorkerRuntime)
    yield runtime
    runtime.close()


def check_output(prepared, module, shape=SHAPE):
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(input_sample(shape))).numpy()
    found = prepared.output()
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() < TOLERANCE * np.abs(expected).max()


def relus(number):
    """A .param file of that many layers one after another; it needs no weights."""
    layers = "".join(f"ReLU relu{index} 1 1 {index} {index + 1}\n" for index in range(number))
    return f"7767517\n{number + 1} {number + 1}\nInput in0 0 1 0\n{layers}"


def test_outputs_are_those_of_the_network_for_files_and_modules(ncnn, network, onnx_file, tmp_path):
    prepared = ncnn.prepare(network, SHAPE)
    check_output(prepared, network)
    check_output(ncnn.open(onnx_file, SHAPE), network)
    for suffix in (".param", ".bin"):
        shutil.copy(prepared.path.with_suffix(suffix), tmp_path / f"mine{suffix}")
    check_output(ncnn.open(tmp_path / "mine.param", SHAPE), network)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.key)
def test_every_part_of_a_table_gives_what_it_should(ncnn, part):
    module = fuse(nn.Sequential(build_part(part)))
    shape = part_input_shape(part)
    check_output(ncnn.prepare(module, shape), module, shape)


@pytest.mark.parametrize(
    ("module", "shape"),
    [(nn.Linear(16, 7), (1, 16)), (nn.Linear(16, 7), (1, 5, 16)), (nn.Conv3d(3, 4, 3), (1, 3, 6, 6, 6))],
    ids=["vector", "tokens", "volume"],
)
def test_inputs_of_every_rank_come_in_as_the_converter_meant_them(ncnn, module, shape):
    check_output(ncnn.prepare(module, shape), module, shape)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the worker's CPU time from /proc")
def test_one_thread_computes_in_the_calling_thread(ncnn):
    network = ncnn.prepare(random_network(resolution=64), (1, 3, 64, 64))
    ratios = []
    for _ in range(15):
        before = process_cpu_s(ncnn)
        ms = network.sample(Calls(0, 60), "cpu")
        ratios.append(ms * 60 / 1e3 / (process_cpu_s(ncnn) - before))
    assert 0.75 < np.median(ratios) < 1.3


def process_cpu_s(runtime):
    """User and system time of the worker, which the system counts in hundredths of a second."""
    stat = Path(f"/proc/{runtime._connection._process.pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_description_tells_precision_converter_and_threads(ncnn):
    described = ncnn.describe()
    assert described["name"] == "ncnn" and described["compute_unit"] == "CPU"
    options = described["options"]
    assert described["precision"] == "fp32" and options["intra_op_threads"] == 1
    assert options["converter"].startswith("pnnx 20")


def test_two_threads_compute_the_same(network):
    runtime = open_runtime("ncnn", 2)
    check_output(runtime.prepare(network, SHAPE), network)
    runtime.close()


def test_a_network_that_crashes_ncnn_is_an_error_and_others_go_on(ncnn, network, tmp_path):
    first = ncnn.prepare(network, SHAPE)
    path = tmp_path / "crashing.param"
    path.write_text(relus(DEEP))
    path.with_suffix(".bin").touch()
    with pytest.raises(
        LatencyError, match=r"SIGSEGV while it opened .*crashing\.param\. .*cannot run this network: leave it out"
    ):
        ncnn.open(path, SHAPE)
    check_output(ncnn.prepare(network, SHAPE), network)
    assert first.sample(Calls(1, 1), "cpu") > 0
    check_output(first, network)


def test_files_that_cannot_be_run_are_refused(ncnn, onnx_file, tmp_path):
    with pytest.raises(LatencyError, match=r"not one input of shape \[1, 3, 64, 64\]\. Choose its resolution"):
        ncnn.open(onnx_file, (1, 3, 64, 64))
    with pytest.raises(LatencyError, match="one image at a time, not 2"):
        ncnn.prepare(nn.Conv2d(3, 4, 1), (2, *SHAPE[1:]))
    path = tmp_path / "network.onnx"
    with pytest.raises(LatencyError, match="does not exist"):
        ncnn.open(path, SHAPE)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(LatencyError, match=rf"{path} .*Export the network again"):
        ncnn.open(path, SHAPE)
    path = tmp_path / "lonely.param"
    path.write_text(relus(1))
    with pytest.raises(LatencyError, match=r"lonely\.bin is missing"):
        ncnn.open(path, SHAPE)
    path.with_suffix(".bin").touch()
    path.write_text(relus(1).replace("ReLU", "Abacus"))
    with pytest.raises(LatencyError, match=rf"cannot open {path}"):
        ncnn.open(path, SHAPE)


def test_a_wrong_conversion_is_not_timed(ncnn, onnx_file):
    right = OnnxRuntime(1).open(onnx_file, SHAPE).output()
    files = NcnnFormat()
    files.check(onnx_file, SHAPE, 1.001 * right)
    for wrong, told in ((right[:, :5], r"shape \[1, 5\] instead of \[1, 10\]"), (1.5 * right, "is off by 50 %")):
        with pytest.raises(LatencyError, match=f"ncnn gives an output .*{told} .*Measure it with another runtime"):
            files.check(onnx_file, SHAPE, wrong)


@pytest.mark.parametrize(("package", "told"), [("ncnn", "ncnn"), ("pnnx", "needs its converter pnnx")])
def test_a_missing_package_is_named_with_its_remedy(package, told):
    program = (
        "import importlib.util as util; find = util.find_spec\n"
        f"util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)\n"
        "from efficientformer.errors import LatencyError\n"
        "from efficientformer.latency.devices import open_runtime\n"
        "try: open_runtime('ncnn')\n"
        "except LatencyError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told in said and 'pip install "efficientformer[ncnn]"' in said


@pytest.mark.slow
def test_a_table_of_the_smallest_space(ncnn, smallest_space):
    table = build_table(
        smallest_space,
        resolution=32,
        num_classes=10,
        runtime=ncnn,
        clock="cpu",
        rounds=4,
        num_networks=4,
        chain_length=2,
    )
    assert table.largest.measured_ms > table.smallest.measured_ms > 0
    table.check_device(ncnn.machine(), ncnn.describe())
