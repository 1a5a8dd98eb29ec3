"""The deploy form of EfficientFormerV2's blocks; see `fuse`."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from efficientformer.models.deploy.folding import constant_bias, folded, joined, require_grid, scaled
from efficientformer.models.deploy.forms import DeployForms
from efficientformer.models.layout import grid_of
from efficientformer.models.map_attention import (
    AttentionDownsample,
    MapAttention,
    SubsamplingAttention,
    join_map,
    split_map,
    upsample,
)
from efficientformer.models.metablocks import AttnFFNBlock, FFNBlock
from efficientformer.models.parts import MHSAHalf


class DeployFFN(nn.Module):
    """An FFN block of three convolutions; the last includes the layer scale."""

    def __init__(self, block: FFNBlock) -> None:
        super().__init__()
        mlp = block.mlp
        self.activation = mlp.activation
        self.fc1 = fuse_conv_bn_eval(mlp.fc1, mlp.norm1)
        self.mid = fuse_conv_bn_eval(mlp.mid, mlp.mid_norm)
        self.fc2 = scaled(fuse_conv_bn_eval(mlp.fc2, mlp.norm2), block.layer_scale_2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.forward_mlp(x_BCHW)

    def forward_mlp(self, x_BCHW: Tensor) -> Tensor:
        hidden_BCHW = self.activation(self.mid(self.activation(self.fc1(x_BCHW))))
        return x_BCHW + self.fc2(hidden_BCHW)


class DeployAttnFFN(DeployFFN):
    """An AttnFFN block; the last convolutions of both branches include the layer scales."""

    def __init__(self, block: AttnFFNBlock, forms: DeployForms) -> None:
        super().__init__(block)
        self.token_mixer = DeployMapAttention(block.token_mixer, block.layer_scale_1, forms)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.forward_mlp(x_BCHW + self.token_mixer(x_BCHW))


class DeployMHSA(nn.Module):
    """The attention of an AttnFFN block; its last convolution includes the layer scale."""

    def __init__(self, half: MHSAHalf, forms: DeployForms) -> None:
        super().__init__()
        self.token_mixer = DeployMapAttention(half.token_mixer, half.layer_scale_1, forms)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.token_mixer(x_BCHW)


class Projections(nn.Module):
    """1x1 convolutions of the same map: joined into one whose output is split, or separate."""

    def __init__(self, layers: list[nn.Conv2d], forms: DeployForms) -> None:
        super().__init__()
        self.channels = [layer.out_channels for layer in layers]
        self.layers = nn.ModuleList([joined(layers)] if forms.projections == "joined" else layers)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        if len(self.layers) == 1:
            return list(self.layers[0](x_BCHW).split(self.channels, dim=1))
        return [layer(x_BCHW) for layer in self.layers]


class DeployMapAttention(nn.Module):
    """Map attention. The first talking head is linear, so it mixes the constant bias (h, N, N) beforehand."""

    attention_bias: Tensor

    def __init__(self, attention: MapAttention, layer_scale: Tensor, forms: DeployForms) -> None:
        super().__init__()
        self.grid, self.stride, self.num_heads = attention.grid, attention.stride, attention.num_heads
        self.activation = attention.activation
        self.stride_conv = folded(attention.stride_conv) if attention.stride > 1 else nn.Identity()  # type: ignore[arg-type]
        q = _scaled_by(folded(attention.q), attention.scale)
        self.qkv = Projections([q, folded(attention.k), folded(attention.v)], forms)
        self.v_local = folded(attention.v_local)
        self.talking_head1, self.talking_head2 = attention.talking_head1, attention.talking_head2
        self.proj = scaled(folded(attention.proj), layer_scale)
        self.register_buffer("attention_bias", self.talking_head1(attention.bias(attention.grid)[None])[0])
        self.talking_head1.bias = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        grid = grid_of(x_BCHW)
        x_BCHW = self.stride_conv(x_BCHW)
        require_grid(grid_of(x_BCHW), self.grid)
        q_BCHW, k_BCHW, v_BCHW = self.qkv(x_BCHW)
        q_BhDN, k_BhDN = split_map(q_BCHW, self.num_heads), split_map(k_BCHW, self.num_heads)
        v_BhDN = split_map(v_BCHW, self.num_heads)
        scores_BhNN = self.talking_head1(q_BhDN.transpose(2, 3) @ k_BhDN) + self.attention_bias
        weights_BhNN = self.talking_head2(scores_BhNN.softmax(dim=3))
        x_BCHW = join_map(weights_BhNN, v_BhDN, self.grid) + self.v_local(v_BCHW)
        return self.proj(self.activation(upsample(x_BCHW, self.stride, grid)))


class DeployAttentionDownsample(nn.Module):
    """The downsample with attention; the subsampled map that the queries add becomes part of their convolution."""

    attention_bias: Tensor

    def __init__(self, downsample: AttentionDownsample, forms: DeployForms) -> None:
        super().__init__()
        attention: SubsamplingAttention = downsample.attn
        self.conv = folded(downsample)
        self.grid, self.num_heads = attention.grid, attention.num_heads
        self.activation = attention.activation
        self.q_local = attention.q_local
        self.q_local.weight[:, :, 1, 1] += 1
        self.q = _scaled_by(folded(attention.q), attention.scale)
        self.kv = Projections([folded(attention.k), folded(attention.v)], forms)
        self.v_local = folded(attention.v_local)
        self.proj = folded(attention.proj)
        self.register_buffer("attention_bias", constant_bias(attention))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        require_grid(grid_of(x_BCHW), self.grid)
        q_BCHW = self.q(self.q_local(x_BCHW))
        k_BCHW, v_BCHW = self.kv(x_BCHW)
        q_BhDM, k_BhDN = split_map(q_BCHW, self.num_heads), split_map(k_BCHW, self.num_heads)
        v_BhDN = split_map(v_BCHW, self.num_heads)
        scores_BhMN = q_BhDM.transpose(2, 3) @ k_BhDN + self.attention_bias
        mixed_BCHW = join_map(scores_BhMN.softmax(dim=3), v_BhDN, grid_of(q_BCHW)) + self.v_local(v_BCHW)
        return self.conv(x_BCHW) + self.proj(self.activation(mixed_BCHW))


def _scaled_by(layer: nn.Conv2d, scale: float) -> nn.Conv2d:
    return scaled(layer, torch.full((layer.out_channels,), scale).to(layer.weight))
