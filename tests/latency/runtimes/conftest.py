import math

import pytest
import torch
from torch import nn

from efficientformer.arch.spaces import QUICK
from efficientformer.arch.spec import Architecture
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse

SHAPE = (1, 3, 32, 32)


def random_network(seed: int = 0, resolution: int = 32, architecture: Architecture = QUICK.largest()) -> nn.Module:
    """A fused network in which every part changes the output: initialization hides much of what a runtime may break."""
    torch.manual_seed(seed)
    network = create_model(architecture, num_classes=10, resolution=resolution, layer_scale_init=0.5)
    with torch.no_grad():
        for name, values in network.state_dict().items():
            if name.endswith("running_mean"):
                values.normal_(std=0.2)
            elif name.endswith("running_var"):
                values.uniform_(0.5, 1.5)
            elif "layer_scale" in name:
                values.uniform_(0.2, 0.8)
            elif "attention_bias" in name:
                values.normal_(std=0.5)
            elif values.ndim > 1:
                values.normal_(std=1.5 / math.sqrt(values[0].numel()))
    return fuse(network.eval())


@pytest.fixture(scope="session")
def network():
    return random_network()


@pytest.fixture(scope="session")
def onnx_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "network.onnx"
    export_onnx(network, SHAPE, path)
    return path
