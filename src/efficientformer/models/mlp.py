"""The MLPs of blocks on maps and on tokens (paper, section 4.1), and on maps with a depth-wise convolution (V2)."""

from torch import Tensor, nn

from efficientformer.arch.spec import DEFAULT_ACTIVATION, Activation
from efficientformer.models.embed import ACTIVATIONS
from efficientformer.models.initialization import init_projection


class ConvMlp(nn.Module):
    """MLP of an MB4D: 1x1 convolutions, each with a batch norm that inference folds away."""

    def __init__(self, width: int, hidden_width: int, activation: Activation = DEFAULT_ACTIVATION) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fc1 = init_projection(nn.Conv2d(width, hidden_width, 1))
        self.norm1 = nn.BatchNorm2d(hidden_width)
        self.fc2 = init_projection(nn.Conv2d(hidden_width, width, 1))
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.activation(self.norm1(self.fc1(x_BCHW)))
        return self.norm2(self.fc2(x_BCHW))


class DepthwiseMlp(nn.Module):
    """MLP of EfficientFormerV2: that of an MB4D, with a depth-wise 3x3 convolution where it is widest."""

    def __init__(self, width: int, hidden_width: int, activation: Activation = DEFAULT_ACTIVATION) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fc1 = init_projection(nn.Conv2d(width, hidden_width, 1))
        self.norm1 = nn.BatchNorm2d(hidden_width)
        self.mid = nn.Conv2d(hidden_width, hidden_width, 3, padding=1, groups=hidden_width)
        self.mid_norm = nn.BatchNorm2d(hidden_width)
        self.fc2 = init_projection(nn.Conv2d(hidden_width, width, 1))
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.activation(self.norm1(self.fc1(x_BCHW)))
        x_BCHW = self.activation(self.mid_norm(self.mid(x_BCHW)))
        return self.norm2(self.fc2(x_BCHW))


class LinearMlp(nn.Module):
    """MLP of an MB3D; the block has the layer norm before it."""

    def __init__(self, width: int, hidden_width: int, activation: Activation = DEFAULT_ACTIVATION) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fc1 = init_projection(nn.Linear(width, hidden_width))
        self.fc2 = init_projection(nn.Linear(hidden_width, width))

    def forward(self, x_BNC: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x_BNC)))
