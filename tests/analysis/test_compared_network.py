from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from efficientformer.analysis.comparison import compared_network
from efficientformer.analysis.comparison.compared_network import check_file, prepare_network
from efficientformer.analysis.comparison.network_source import NetworkSource, find_sources
from efficientformer.arch.zoo import build_architecture
from efficientformer.errors import LatencyError
from efficientformer.latency.devices import open_runtime
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import save_weights


def write_graph(path: Path, *shapes: list[int | str | None]) -> Path:
    """An ONNX file with one flattening operator on the first of its inputs."""
    names = [f"x{index}" for index in range(len(shapes))]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Flatten", ["x0"], ["y"])], "net", inputs, [output])
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("shapes", "resolution", "message"),
    [
        ([[1, 3, 8, 8], [1, 3, 8, 8]], None, "takes 2 inputs"),
        ([[1, 12]], None, "2 dimensions"),
        ([[1, 3, "h", "w"]], None, "Choose one with --resolution"),
        ([[1, 3, 8, 8]], 16, "exported for 8 x 8 px and cannot take --resolution 16"),
        ([[4, 3, 8, 8]], None, "4 images at once"),
        ([[1, "c", 8, 8]], None, "number of channels open"),
    ],
)
def test_a_file_that_cannot_be_compared_is_refused(shapes, resolution, message, tmp_path):
    path = write_graph(tmp_path / "net.onnx", *shapes)
    with pytest.raises(LatencyError, match=message):
        check_file(path, resolution)


def test_open_sizes_of_a_file_are_settled_by_the_resolution(tmp_path):
    path = write_graph(tmp_path / "net.onnx", ["n", 3, "h", "w"])
    assert check_file(path, 16) == (1, 3, 16, 16)
    assert check_file(write_graph(path, [1, 1, 8, 12]), None) == (1, 1, 8, 12)


def test_a_given_file_is_used_where_it_is(tmp_path):
    path = write_graph(tmp_path / "net.onnx", [1, 3, 4, 4])
    network = prepare_network(*find_sources([str(path)]), None, tmp_path / "kept")
    assert network.path == path and not (tmp_path / "kept").exists()
    assert (network.logits_from, network.macs, network.published_top1()) == ("onnxruntime", 0, None)
    with pytest.raises(LatencyError, match="PyTorch modules only"):
        network.module()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


def test_a_network_is_exported_once_and_computes_what_its_module_does(kept, monkeypatch):
    (source,) = find_sources(["mobileone_s0"])
    network = prepare_network(source, 64, kept)
    assert network.deploy_form == "re-parameterized by timm" and network.resolution == (64, 64)
    output = open_runtime("onnxruntime").open(network.path, network.input_shape).output()
    assert np.abs(output - network.logits).max() < 1e-3 * network.logits.std()
    again = open_runtime("pytorch").prepare(network.module(), network.input_shape).output()
    assert np.abs(again - network.logits).max() < 1e-4 * network.logits.std()

    monkeypatch.setattr(compared_network, "build_network", None)
    found = prepare_network(source, 64, kept)
    assert found.path == network.path and np.array_equal(found.logits, network.logits)


def test_a_damaged_file_is_exported_again(kept):
    (source,) = find_sources(["mobileone_s0"])
    path = prepare_network(source, 64, kept).path
    good = path.read_bytes()
    path.write_bytes(good[:100])
    assert prepare_network(source, 64, kept).path.read_bytes() == good


def test_accuracy_is_that_of_the_default_weights_at_the_measured_size(kept):
    (plain,) = find_sources(["mobileone_s0"])
    assert prepare_network(plain, 64, kept).published_top1() is None
    (ours,) = find_sources(["mobilenetv2_035"])
    assert prepare_network(ours, 32, kept).published_top1() is None


def test_trained_weights_of_ours_are_compared_with_their_own_output(kept, tmp_path):
    network = create_model(build_architecture((16, 16, 32, 32), (1, 1, 1, 1), 1), num_classes=5, resolution=64)
    save_weights(network, tmp_path / "weights.safetensors")
    compared = prepare_network(*find_sources([str(tmp_path)]), None, kept)
    assert compared.weights == "trained" and compared.input_shape == (1, 3, 64, 64)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(compared_network_input())).numpy()
    assert np.abs(compared.logits - expected).max() < 1e-5


def compared_network_input() -> np.ndarray:
    from efficientformer.exporting.files import input_sample

    return input_sample((1, 3, 64, 64))


def test_a_size_that_a_network_cannot_take_is_a_stated_failure(kept):
    source = NetworkSource("swin", "swin", "timm", "swin_tiny_patch4_window7_224")
    with pytest.raises(LatencyError, match="swin cannot be built for images of 3 px"):
        prepare_network(source, 3, kept)
