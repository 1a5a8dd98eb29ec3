import threading

from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime

from .conftest import SHAPE


def test_one_thread_starts_no_other(onnx_file):
    threads = threading.active_count()
    OnnxRuntime(1).open(onnx_file, SHAPE).output()
    assert threading.active_count() == threads


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
