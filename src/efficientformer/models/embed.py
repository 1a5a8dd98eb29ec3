"""Convolutions that lower the resolution: the stem before stage 1 and the downsamples between stages.

The paper writes both as an Embed operator (section 4.1): Conv-BN, with a ReLU in the stem only. Every other activation
of the paper's networks is GELU, and in EfficientFormerV2 the stem's too.
"""

from collections.abc import Callable

from torch import Tensor, nn

from efficientformer.arch.spec import Activation, Strides

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
    """Two 3x3 convolutions from the image to the maps of stage 1; strides 2, 2 make the paper's 1/4 resolution.

    With three strides another convolution is `first`: widths double from one to the next, and strides 2, 2, 2 make 1/8.
    """

    def __init__(
        self, width: int, strides: Strides = (2, 2), in_width: int = 3, *, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        *before, stride1, stride2 = strides
        # Published checkpoints have conv1 and conv2, so what a longer stem adds has a name of its own.
        self.first = ConvNorm(in_width, width // 4, 3, stride=before[0]) if before else None
        in_width = width // 4 if before else in_width
        self.conv1 = nn.Conv2d(in_width, width // 2, 3, stride=stride1, padding=1)
        self.norm1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width, 3, stride=stride2, padding=1)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.first is not None:
            x_BCHW = self.activation(self.first(x_BCHW))
        x_BCHW = self.activation(self.norm1(self.conv1(x_BCHW)))
        return self.activation(self.norm2(self.conv2(x_BCHW)))


class Downsample(ConvNorm):
    """One 3x3 convolution of stride 2 into the width of the next stage; odd sizes round up."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__(in_width, width, 3, stride=2)
