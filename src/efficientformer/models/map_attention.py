"""Attention on maps and the downsample with attention, both of EfficientFormerV2.

Queries, keys and values come from 1x1 convolutions with batch norm; a depth-wise convolution of the values adds
locality; 1x1 convolutions over the heads mix the scores before and after the softmax (talking heads).
"""

from torch import Tensor, nn

from efficientformer.arch.parts import strided
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import DEFAULT_ACTIVATION, MHSA, Activation, DownsampleAttention
from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.embed import ACTIVATIONS, ConvNorm, Downsample
from efficientformer.models.layout import channels_of, grid_of


class MapAttention(BiasedAttention):
    """Multi-head self-attention from map (B, C, H, W) to map.

    With stride 2 a depth-wise convolution first halves the map, and the result is upsampled (V2's stride attention).
    `grid` is that of the input; the bias table is for the grid after the stride.
    """

    def __init__(self, width: int, options: MHSA, grid: Grid, activation: Activation = DEFAULT_ACTIVATION) -> None:
        super().__init__(options.num_heads, strided(grid, options.stride))
        self.activation = ACTIVATIONS[activation]
        self.stride, self.head_dims = options.stride, (options.key_dim, options.key_dim, options.value_dim)
        self.scale = options.key_dim**-0.5
        keys, values = options.num_heads * options.key_dim, options.num_heads * options.value_dim
        self.stride_conv = (
            ConvNorm(width, width, 3, stride=options.stride, groups=width) if options.stride > 1 else nn.Identity()
        )
        self.q = ConvNorm(width, keys, 1)
        self.k = ConvNorm(width, keys, 1)
        self.v = ConvNorm(width, values, 1)
        self.v_local = ConvNorm(values, values, 3, groups=values)
        self.talking_head1 = nn.Conv2d(options.num_heads, options.num_heads, 1)
        self.talking_head2 = nn.Conv2d(options.num_heads, options.num_heads, 1)
        self.proj = ConvNorm(values, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        grid = grid_of(x_BCHW)
        x_BCHW = self.stride_conv(x_BCHW)
        attended = grid_of(x_BCHW)
        v_BCHW = self.v(x_BCHW)
        q_BhDN, k_BhDN = split_map(self.q(x_BCHW), self.num_heads), split_map(self.k(x_BCHW), self.num_heads)
        v_BhDN = split_map(v_BCHW, self.num_heads)
        scores_BhNN = (q_BhDN * self.scale).transpose(2, 3) @ k_BhDN + self.bias(attended)
        weights_BhNN = self.talking_head2(self.talking_head1(scores_BhNN).softmax(dim=3))
        x_BCHW = join_map(weights_BhNN, v_BhDN, attended) + self.v_local(v_BCHW)
        return self.proj(self.activation(upsample(x_BCHW, self.stride, grid)))


class AttentionDownsample(Downsample):
    """A convolution of stride 2, plus attention with queries from the smaller map and keys and values from the larger
    one (V2's dual-path attention downsampling). `grid` is that of the input."""

    def __init__(self, in_width: int, width: int, grid: Grid, activation: Activation = DEFAULT_ACTIVATION) -> None:
        super().__init__(in_width, width)
        self.attn = SubsamplingAttention(in_width, width, grid, activation)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.norm(self.conv(x_BCHW)) + self.attn(x_BCHW)


class SubsamplingAttention(BiasedAttention):
    """Attention from map (B, C, H, W) to one of half the size: a query for every second row and column."""

    def __init__(self, in_width: int, width: int, grid: Grid, activation: Activation = DEFAULT_ACTIVATION) -> None:
        options = DownsampleAttention()
        super().__init__(options.num_heads, grid, query_stride=2)
        self.activation = ACTIVATIONS[activation]
        self.scale = options.key_dim**-0.5
        keys, values = options.num_heads * options.key_dim, options.num_heads * options.value_dim
        self.q_local = nn.Conv2d(in_width, in_width, 3, stride=2, padding=1, groups=in_width)
        self.q = ConvNorm(in_width, keys, 1)
        self.k = ConvNorm(in_width, keys, 1)
        self.v = ConvNorm(in_width, values, 1)
        self.v_local = ConvNorm(values, values, 3, stride=2, groups=values)
        self.proj = ConvNorm(values, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        q_BCHW = self.q(self.q_local(x_BCHW) + x_BCHW[:, :, ::2, ::2])
        v_BCHW = self.v(x_BCHW)
        q_BhDM, k_BhDN = split_map(q_BCHW, self.num_heads), split_map(self.k(x_BCHW), self.num_heads)
        v_BhDN = split_map(v_BCHW, self.num_heads)
        scores_BhMN = (q_BhDM * self.scale).transpose(2, 3) @ k_BhDN + self.bias(grid_of(x_BCHW))
        x_BCHW = join_map(scores_BhMN.softmax(dim=3), v_BhDN, grid_of(q_BCHW)) + self.v_local(v_BCHW)
        return self.proj(self.activation(x_BCHW))


def split_map(x_BCHW: Tensor, num_heads: int) -> Tensor:
    """A map as (B, h, D, N): channels run head by head."""
    height, width = grid_of(x_BCHW)
    return x_BCHW.reshape(-1, num_heads, channels_of(x_BCHW) // num_heads, height * width)


def join_map(weights_BhMN: Tensor, v_BhDN: Tensor, grid: Grid) -> Tensor:
    """The weighted values as a map on the grid of the queries, with heads concatenated: (B, h * D, H, W)."""
    channels = int(v_BhDN.shape[1]) * int(v_BhDN.shape[2])
    return (v_BhDN @ weights_BhMN.transpose(2, 3)).reshape(-1, channels, grid[0], grid[1])


def upsample(x_BCHW: Tensor, stride: int, grid: Grid) -> Tensor:
    """Bilinear, back to the grid before the stride; of an odd grid, the surplus row or column is cut off."""
    if stride == 1:
        return x_BCHW
    x_BCHW = nn.functional.interpolate(x_BCHW, scale_factor=float(stride), mode="bilinear", align_corners=False)
    return x_BCHW if grid_of(x_BCHW) == grid else x_BCHW[:, :, : grid[0], : grid[1]]
