import copy
from dataclasses import replace

import pytest
import torch

from efficientformer.arch.dense import OneStage
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


def test_distances_in_pixels_are_compared_by_their_size(tmp_path):
    """Of hundreds of pixels single precision keeps fewer digits behind the point."""
    network = create_model(replace(SMALL, head=OneStage(8, 8, 1)), num_classes=2, resolution=64).eval()
    path, generator = tmp_path / "model.onnx", torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.head.branches.boxes.bias[:4] = 40.0
        network.head.branches.boxes.weight.normal_(generator=generator)
    export_onnx(network, (1, 3, 64, 64), path)
    assert onnx_parity(network, path, (1, 3, 64, 64)) <= 1e-4
    with torch.no_grad():
        network.head.scales.mul_(1.01)
    assert onnx_parity(network, path, (1, 3, 64, 64)) == pytest.approx(0.01, rel=0.1)


def test_images_follow_the_seed(tmp_path):
    network = create_model(SMALL, num_classes=5, resolution=64).eval()
    path = tmp_path / "model.onnx"
    export_onnx(network, (3, 3, 64, 64), path)
    with torch.no_grad():
        network.head.weight.mul_(2)
    first, again, other = (onnx_parity(network, path, (3, 3, 64, 64), seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other
