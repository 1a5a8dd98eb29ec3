import copy

import pytest
import torch

from efficientformer.arch.zoo import build_architecture
from efficientformer.exporting.onnx import export_onnx
from efficientformer.exporting.parity import onnx_parity
from efficientformer.models.create import create_model

SMALL = build_architecture((8, 16, 24, 32), (1, 1, 1, 2), 1)


def test_a_different_network_is_noticed(tmp_path):
    network = create_model(SMALL, num_classes=5, resolution=64).eval()
    path = tmp_path / "model.onnx"
    export_onnx(network, (1, 3, 64, 64), path)
    assert onnx_parity(network, path, (1, 3, 64, 64)) <= 1e-5
    shifted = copy.deepcopy(network)
    with torch.no_grad():
        shifted.head.bias[2] += 0.25
    assert onnx_parity(shifted, path, (1, 3, 64, 64)) == pytest.approx(0.25, abs=1e-4)


def test_not_a_number_is_never_parity(tmp_path):
    network = create_model(SMALL, num_classes=5, resolution=64).eval()
    path = tmp_path / "model.onnx"
    export_onnx(network, (1, 3, 64, 64), path)
    with torch.no_grad():
        network.head.bias[0] = float("nan")
    assert not onnx_parity(network, path, (1, 3, 64, 64)) <= 1e-4


def test_images_follow_the_seed(tmp_path):
    network = create_model(SMALL, num_classes=5, resolution=64).eval()
    path = tmp_path / "model.onnx"
    export_onnx(network, (3, 3, 64, 64), path)
    with torch.no_grad():
        network.head.weight.mul_(2)
    first, again, other = (onnx_parity(network, path, (3, 3, 64, 64), seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other
