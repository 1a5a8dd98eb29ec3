"""The blocks: a token mixer, then an MLP, each added to what came in (paper, equations 1 to 4).

All branches are multiplied by a learned layer scale, which starts near zero, and may be dropped during training.
"""

import torch
from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import DEFAULT_ACTIVATION, FFN, MB3D, MB4D, Activation, AttnFFN
from efficientformer.models.map_attention import MapAttention
from efficientformer.models.mlp import ConvMlp, DepthwiseMlp, LinearMlp
from efficientformer.models.token_mixers import Attention, Pooling


class DropPath(nn.Module):
    """Drops a residual branch of whole samples while training (Huang et al., 2016), and scales the others up.

    Our own: timm's takes seconds to import, in every command that builds a network.

    drop_prob: from 0 to below 1.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return x
        kept = 1.0 - self.drop_prob
        shape = [x.shape[0]] + [1] * (x.dim() - 1)
        return x * x.new_empty(shape).bernoulli_(kept) / kept

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob:g}"


class MB4DBlock(nn.Module):
    """Meta block on maps (B, C, H, W): pooling, then an MLP of 1x1 convolutions with batch norm."""

    def __init__(
        self,
        width: int,
        block: MB4D,
        *,
        drop_path: float = 0.0,
        layer_scale_init: float = 1e-5,
        activation: Activation = DEFAULT_ACTIVATION,
    ) -> None:
        super().__init__()
        self.token_mixer = Pooling()
        self.mlp = ConvMlp(width, width * block.mlp_ratio, activation)
        self.layer_scale_1 = nn.Parameter(torch.full((width,), layer_scale_init))
        self.layer_scale_2 = nn.Parameter(torch.full((width,), layer_scale_init))
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW + self.drop_path(self.layer_scale_1[:, None, None] * self.token_mixer(x_BCHW))
        return x_BCHW + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(x_BCHW))


class MB3DBlock(nn.Module):
    """Meta block on tokens (B, N, C): attention, then a linear MLP, each behind a layer norm.

    `grid` is that of the map that the tokens come from; `forward` takes another one for images of another size.
    """

    def __init__(
        self,
        width: int,
        block: MB3D,
        grid: Grid,
        *,
        drop_path: float = 0.0,
        layer_scale_init: float = 1e-5,
        activation: Activation = DEFAULT_ACTIVATION,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.token_mixer = Attention(width, block, grid)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = LinearMlp(width, width * block.mlp_ratio, activation)
        self.layer_scale_1 = nn.Parameter(torch.full((width,), layer_scale_init))
        self.layer_scale_2 = nn.Parameter(torch.full((width,), layer_scale_init))
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BNC: Tensor, grid: Grid | None = None) -> Tensor:
        x_BNC = x_BNC + self.drop_path(self.layer_scale_1 * self.token_mixer(self.norm1(x_BNC), grid))
        return x_BNC + self.drop_path(self.layer_scale_2 * self.mlp(self.norm2(x_BNC)))


class FFNBlock(nn.Module):
    """Block of EfficientFormerV2 on maps (B, C, H, W): the MLP, whose depth-wise convolution is its token mixer."""

    def __init__(
        self,
        width: int,
        block: FFN | AttnFFN,
        *,
        drop_path: float = 0.0,
        layer_scale_init: float = 1e-5,
        activation: Activation = DEFAULT_ACTIVATION,
    ) -> None:
        super().__init__()
        self.mlp = DepthwiseMlp(width, width * block.mlp_ratio, activation)
        self.layer_scale_2 = nn.Parameter(torch.full((width,), layer_scale_init))
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.forward_mlp(x_BCHW)

    def forward_mlp(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(x_BCHW))


class AttnFFNBlock(FFNBlock):
    """Block of EfficientFormerV2 on maps: attention, then an FFN. `grid` is that of the input."""

    def __init__(
        self,
        width: int,
        block: AttnFFN,
        grid: Grid,
        *,
        drop_path: float = 0.0,
        layer_scale_init: float = 1e-5,
        activation: Activation = DEFAULT_ACTIVATION,
    ) -> None:
        super().__init__(width, block, drop_path=drop_path, layer_scale_init=layer_scale_init, activation=activation)
        self.token_mixer = MapAttention(width, block.attention, grid, activation)
        self.layer_scale_1 = nn.Parameter(torch.full((width,), layer_scale_init))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW + self.drop_path(self.layer_scale_1[:, None, None] * self.token_mixer(x_BCHW))
        return self.forward_mlp(x_BCHW)
