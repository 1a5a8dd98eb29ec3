import threading
import time

import numpy as np
import pytest
import torch

from efficientformer.arch.space import STANDARD
from efficientformer.errors import LatencyError
from efficientformer.export.onnx import export_onnx
from efficientformer.latency.prepared import input_sample
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.models.fuse import fuse
from efficientformer.models.network import create_model

SHAPE = (1, 3, 64, 64)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return fuse(create_model(STANDARD.largest(), num_classes=10, resolution=64, layer_scale_init=0.5))


def test_one_thread_computes_in_the_calling_thread(network):
    run = OnnxRuntime(1).prepare(network, SHAPE).run
    for _ in range(3):
        run()
    threads = threading.active_count()
    thread, process = time.thread_time_ns(), time.process_time_ns()
    for _ in range(40):
        run()
    thread, process = time.thread_time_ns() - thread, time.process_time_ns() - process
    assert threading.active_count() == threads
    assert thread == pytest.approx(process, rel=0.1)


def test_file_and_module_give_what_the_network_gives(network, tmp_path):
    path = tmp_path / "network.onnx"
    export_onnx(network, SHAPE, path)
    from_file = OnnxRuntime(1).open(path, SHAPE).output()
    from_module = OnnxRuntime(1).prepare(network, SHAPE).output()
    x = torch.from_numpy(input_sample(SHAPE))
    with torch.no_grad():
        expected = network(x).numpy()
    assert from_file == pytest.approx(expected, abs=1e-4) and np.array_equal(from_file, from_module)


def test_description_names_the_provider_and_every_option():
    description = OnnxRuntime(1).describe()
    assert description["compute_unit"] == "CPUExecutionProvider"
    assert description["options"] == {
        "graph_optimization": "all",
        "execution_mode": "sequential",
        "intra_op_threads": 1,
        "inter_op_threads": 1,
        "spinning": "none",
    }


def test_files_that_cannot_be_run_are_refused(network, tmp_path):
    path = tmp_path / "network.onnx"
    with pytest.raises(LatencyError, match="does not exist"):
        OnnxRuntime(1).open(path, SHAPE)
    path.write_bytes(b"not a network")
    with pytest.raises(LatencyError, match=r"cannot open .*Export the network again"):
        OnnxRuntime(1).open(path, SHAPE)
    export_onnx(network, SHAPE, path)
    with pytest.raises(LatencyError, match=r"not one input of shape \[1, 3, 32, 32\]"):
        OnnxRuntime(1).open(path, (1, 3, 32, 32))
