"""The deploy form: the same function with everything folded that is constant once training is over.

Batch norm goes into the convolution before it, layer scale and attention scale into the projection they multiply, the
two heads into one, and the attention bias is gathered for the one grid that the network was made for.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from efficientformer.arch.resolution import Grid
from efficientformer.models.deploy.folding import constant_bias, deployed_norm, folded, require_grid, scaled
from efficientformer.models.deploy.forms import DeployForms
from efficientformer.models.deploy.fuse_v2 import DeployAttentionDownsample, DeployAttnFFN, DeployFFN, DeployMHSA
from efficientformer.models.embed import ConvNorm, Stem
from efficientformer.models.heads.build import DenseHeadModule
from efficientformer.models.heads.parts import FpnLevel
from efficientformer.models.map_attention import AttentionDownsample
from efficientformer.models.metablocks import AttnFFNBlock, FFNBlock, MB3DBlock, MB4DBlock
from efficientformer.models.network import Network
from efficientformer.models.parts import MapHead, MHSAHalf
from efficientformer.models.token_mixers import Attention, attend, average_neighbors, split_heads


def fuse(module: nn.Module, forms: DeployForms = DeployForms()) -> nn.Module:
    """A deploy form of a network, a part or a chain of parts: a copy in evaluation mode, without gradients.

    It agrees with the original up to rounding, on images of the resolution that the original was made for. Which of the
    exact `forms` is fastest depends on the runtime.
    """
    return fuse_in_place(copy.deepcopy(module), forms)


def fuse_in_place(module: nn.Module, forms: DeployForms = DeployForms()) -> nn.Module:
    """`fuse` without a copy, which takes as long as fusing, for a module that is not needed afterwards."""
    with torch.no_grad():
        return _fused(module.eval(), forms, {}).requires_grad_(False)


class DeployMB4D(nn.Module):
    """An MB4D whose first branch, x + scale * (pooled - x), may be multiplied out: (1 - scale) * x + scale * pooled.

    Pooling averages without padding, so a single convolution cannot replace the branch. ONNX Runtime converts layouts
    around a subtraction but not around these products: whole networks measured 2 to 5 % faster.
    """

    def __init__(self, block: MB4DBlock, forms: DeployForms) -> None:
        super().__init__()
        self.pooled_share = nn.Parameter(block.layer_scale_1[:, None, None])
        if forms.pooling == "products":
            self.kept_share = nn.Parameter(1 - self.pooled_share)
        else:
            self.kept_share = None
        self.activation = block.mlp.activation
        self.fc1 = fuse_conv_bn_eval(block.mlp.fc1, block.mlp.norm1)
        self.fc2 = scaled(fuse_conv_bn_eval(block.mlp.fc2, block.mlp.norm2), block.layer_scale_2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        pooled_BCHW = average_neighbors(x_BCHW)
        if self.kept_share is None:
            x_BCHW = x_BCHW + self.pooled_share * (pooled_BCHW - x_BCHW)
        else:
            x_BCHW = self.kept_share * x_BCHW + self.pooled_share * pooled_BCHW
        return x_BCHW + self.fc2(self.activation(self.fc1(x_BCHW)))


class DeployMB3D(nn.Module):
    """An MB3D; the projections at the end of both branches include the layer scales."""

    def __init__(self, block: MB3DBlock) -> None:
        super().__init__()
        self.norm1 = block.norm1
        self.token_mixer = DeployAttention(block.token_mixer, block.layer_scale_1)
        self.norm2 = block.norm2
        self.mlp = block.mlp
        scaled(block.mlp.fc2, block.layer_scale_2)

    def forward(self, x_BNC: Tensor, grid: Grid | None = None) -> Tensor:
        x_BNC = x_BNC + self.token_mixer(self.norm1(x_BNC), grid)
        return x_BNC + self.mlp(self.norm2(x_BNC))


class DeployAttention(nn.Module):
    """Attention with a constant bias (h, N, N); the projection of the queries includes their scale."""

    attention_bias: Tensor

    def __init__(self, attention: Attention, layer_scale: Tensor) -> None:
        super().__init__()
        self.grid = attention.grid
        self.num_heads = attention.num_heads
        self.head_dims = attention.head_dims
        scales = [torch.full((dim,), scale) for dim, scale in zip(self.head_dims, (attention.scale, 1, 1), strict=True)]
        self.qkv = scaled(attention.qkv, torch.cat(scales).repeat(self.num_heads).to(attention.qkv.weight))
        self.proj = scaled(attention.proj, layer_scale)
        self.register_buffer("attention_bias", constant_bias(attention))

    def forward(self, x_BNC: Tensor, grid: Grid | None = None) -> Tensor:
        require_grid(self.grid if grid is None else grid, self.grid)
        q_BhND, k_BhND, v_BhND = split_heads(self.qkv(x_BNC), self.num_heads, self.head_dims)
        return self.proj(attend(q_BhND, k_BhND, v_BhND, self.attention_bias))


def _fused(module: nn.Module, forms: DeployForms, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """The deploy form of a module that may be changed; a module used in several places is folded once."""
    if module not in done:
        done[module] = deployed = _folded(module, forms)
        children = [
            (name, child) for name, child in deployed.named_modules(remove_duplicate=False) if name.count(".") == 0
        ]
        for name, child in children[1:]:
            deployed.set_submodule(name, _fused(child, forms, done))
    return done[module]


def _folded(module: nn.Module, forms: DeployForms) -> nn.Module:
    match module:
        case MB4DBlock():
            return DeployMB4D(module, forms)
        case MB3DBlock():
            return DeployMB3D(module)
        case Stem():
            module.conv1 = fuse_conv_bn_eval(module.conv1, module.norm1)
            module.set_submodule("norm1", nn.Identity())
            module.conv2 = fuse_conv_bn_eval(module.conv2, module.norm2)
            module.set_submodule("norm2", nn.Identity())
        case AttnFFNBlock():
            return DeployAttnFFN(module, forms)
        case MHSAHalf():
            return DeployMHSA(module, forms)
        case FFNBlock():
            return DeployFFN(module)
        case AttentionDownsample():
            return DeployAttentionDownsample(module, forms)
        case ConvNorm():
            module.conv = folded(module)
            module.set_submodule("norm", nn.Identity())
        case MapHead():
            _fold_norm_into_head(module)
        case FpnLevel():
            module.norm = deployed_norm(module.norm, module.fpn.laterals[0])
        case Network():
            _merge_heads(module)
            if isinstance(module.norm, nn.BatchNorm2d) and isinstance(module.head, nn.Linear):
                _fold_norm_into_head(module)
            if isinstance(module.head, DenseHeadModule) and module.output_norms is not None:
                laterals = module.head.fpn.laterals
                for index, lateral in enumerate(laterals, start=len(module.output_norms) - len(laterals)):
                    module.output_norms[index] = deployed_norm(module.output_norms[index], lateral)
    return module


def _merge_heads(network: Network) -> None:
    if isinstance(network.head, nn.Linear) and isinstance(network.head_dist, nn.Linear):
        network.head.weight.add_(network.head_dist.weight).div_(2)
        network.head.bias.add_(network.head_dist.bias).div_(2)
        network.head_dist = None


def _fold_norm_into_head(module: Network | MapHead) -> None:
    """Batch norm is affine per channel, so it commutes with the mean and folds into the weights of the head."""
    norm, head = module.norm, module.head
    assert isinstance(head, nn.Linear) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale_C = norm.weight * (norm.running_var + norm.eps).rsqrt()
    head.bias.add_(head.weight @ (norm.bias - norm.running_mean * scale_C))
    head.weight.mul_(scale_C)
    module.set_submodule("norm", nn.Identity())
