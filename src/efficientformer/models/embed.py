"""Convolutions that lower the resolution: the stem before stage 1 and the downsamples between stages.

The paper writes both as an Embed operator (section 4.1): Conv-BN, with a ReLU in the stem only. Every other activation
of the paper's networks is GELU, and in EfficientFormerV2 the stem's too.
"""

from collections.abc import Callable

from torch import Tensor, nn

from efficientformer.arch.spec import Activation

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "hard_swish": nn.functional.hardswish,
    "relu": nn.functional.relu,
}


class ConvNorm(nn.Module):
    """A padded convolution, whose stride alone changes the size, then batch norm, which the deploy form folds away."""

    def __init__(self, in_width: int, width: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, kernel, stride=stride, padding=kernel // 2, groups=groups)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.norm(self.conv(x_BCHW))


class Stem(nn.Module):
    """Two 3x3 convolutions from the image to the maps of stage 1; strides 2, 2 make the paper's 1/4 resolution."""

    def __init__(
        self, width: int, strides: tuple[int, int] = (2, 2), in_width: int = 3, *, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.conv1 = nn.Conv2d(in_width, width // 2, 3, stride=strides[0], padding=1)
        self.norm1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width, 3, stride=strides[1], padding=1)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.activation(self.norm1(self.conv1(x_BCHW)))
        return self.activation(self.norm2(self.conv2(x_BCHW)))


class Downsample(ConvNorm):
    """One 3x3 convolution of stride 2 into the width of the next stage; odd sizes round up."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__(in_width, width, 3, stride=2)
