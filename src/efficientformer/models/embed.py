"""Convolutions that lower the resolution: the stem before stage 1 and the downsamples between stages.

The paper writes both as an Embed operator (section 4.1): Conv-BN, with a ReLU in the stem only. Every other activation
of the network is GELU.
"""

from torch import Tensor, nn


class Stem(nn.Module):
    """Two 3x3 convolutions from the image to the maps of stage 1; strides 2, 2 make the paper's 1/4 resolution."""

    def __init__(self, width: int, strides: tuple[int, int] = (2, 2), in_width: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width // 2, 3, stride=strides[0], padding=1)
        self.norm1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width, 3, stride=strides[1], padding=1)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = nn.functional.relu(self.norm1(self.conv1(x_BCHW)))
        return nn.functional.relu(self.norm2(self.conv2(x_BCHW)))


class Downsample(nn.Module):
    """One 3x3 convolution of stride 2 into the width of the next stage; odd sizes round up."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.norm(self.conv(x_BCHW))
