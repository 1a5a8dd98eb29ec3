"""A stem of three convolutions in the network, in its files and behind fusing; that of two keeps its names."""

from dataclasses import replace

import pytest
import torch

from efficientformer.exporting.onnx import export_onnx
from efficientformer.exporting.parity import onnx_parity
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.embed import Stem
from efficientformer.models.weights.load import load_network, save_weights

from .small import BOTH, BOTH_IDS

both_families = pytest.mark.parametrize("small", BOTH, ids=BOTH_IDS)


def test_published_stems_have_their_two_convolutions_alone():
    names = {f"{kind}{number}" for kind in ("conv", "norm") for number in (1, 2)}
    assert {name.split(".")[0] for name in Stem(16).state_dict()} == names


def test_widths_double_from_one_convolution_to_the_next():
    stem = Stem(24, (2, 2, 2), 4)
    assert stem.first is not None
    convolutions = (stem.first.conv, stem.conv1, stem.conv2)
    assert [(conv.in_channels, conv.out_channels) for conv in convolutions] == [(4, 6), (6, 12), (12, 24)]
    assert stem(torch.zeros(1, 4, 64, 40)).shape == (1, 24, 8, 5)


@both_families
def test_maps_and_their_strides_start_at_an_eighth(small):
    network = create_model(replace(small, stem_strides=(2, 2, 2)), num_classes=5, resolution=64).eval()
    assert [row["reduction"] for row in network.feature_info] == [8, 16, 32, 64]
    maps = network.forward_maps(torch.randn(1, 3, 64, 64))
    assert [map_BCHW.shape[-1] for map_BCHW in maps] == [8, 4, 2, 1]


@both_families
def test_weights_and_exported_files_keep_the_function(small, randomize, tmp_path):
    network = create_model(replace(small, stem_strides=(2, 1, 2)), num_classes=5, resolution=(64, 40))
    network = randomize(network).eval()
    save_weights(network, tmp_path / "weights.safetensors", {})
    again, images = load_network(tmp_path / "weights.safetensors").eval(), torch.randn(2, 3, 64, 40)
    assert again.architecture == network.architecture and torch.equal(again(images), network(images))
    export_onnx(fuse(network), (2, 3, 64, 40), tmp_path / "model.onnx")
    assert onnx_parity(network, tmp_path / "model.onnx", (2, 3, 64, 40)) <= 1e-4
