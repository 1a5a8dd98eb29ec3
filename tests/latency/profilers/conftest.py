import pytest
import torch
from torch import nn

from efficientformer.arch.spec import MB3D
from efficientformer.arch.zoo import build_architecture
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse

SHAPE = (1, 3, 64, 64)


class Residual(nn.Module):
    """conv, ReLU, conv, addition, ReLU: what runtimes join into two operators."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x_BCHW):
        return self.act(x_BCHW + self.conv2(self.act(self.conv1(x_BCHW))))


@pytest.fixture(scope="session")
def residual_network():
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
    return nn.Sequential(stem, Residual(), Residual()).eval()


@pytest.fixture(scope="session")
def small_network():
    """One MB4D per stage and one MB3D, in deploy form, for images of SHAPE."""
    torch.manual_seed(0)
    architecture = build_architecture(
        (16, 24, 32, 48), (1, 1, 1, 2), 1, mb3d=MB3D(num_heads=2, key_dim=8, value_ratio=2)
    )
    return fuse(create_model(architecture, num_classes=10, resolution=SHAPE[2]))
