"""Gates of heads: all that a head writes, multiplied by 1, so that the loss has a gradient by each head.

A head writes its values into the projection. In EfficientFormerV2 talking heads pass its scores and its weights on to
the other heads as well; what they pass on to itself ends in its values, and counts there.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.map_attention import MapAttention


def gate_heads(attention: BiasedAttention, use: Callable[[Tensor], None]) -> list[RemovableHandle]:
    """Have the attention make gates (B, h) in each forward pass, and pass them to `use`; its output stays the same."""
    gates_Bh = torch.empty(0)

    def start(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal gates_Bh
        gates_Bh = inputs[0].new_ones(len(inputs[0]), attention.num_heads, requires_grad=True)
        use(gates_Bh)

    def values(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        (x,) = inputs
        axis = 1 if x.dim() == 4 else 2
        gates = gates_Bh.repeat_interleave(x.shape[axis] // attention.num_heads, dim=1)
        return (x * gates.reshape(len(x), *(-1 if at == axis else 1 for at in range(1, x.dim()))),)

    def to_others(talking_head: nn.Module, inputs: tuple[Tensor], out_BhNN: Tensor) -> Tensor:
        """The gates act by their distance from 1, which is nothing but a gradient."""
        (x_BhNN,) = inputs
        assert isinstance(talking_head, nn.Conv2d)
        others_hh11 = talking_head.weight * (1 - torch.eye(attention.num_heads, device=x_BhNN.device))[..., None, None]
        return out_BhNN + nn.functional.conv2d(x_BhNN * (gates_Bh - 1)[..., None, None], others_hh11)

    assert isinstance(attention.proj, nn.Module)
    hooks = [attention.register_forward_pre_hook(start), attention.proj.register_forward_pre_hook(values)]
    if isinstance(attention, MapAttention):
        hooks += [head.register_forward_hook(to_others) for head in (attention.talking_head1, attention.talking_head2)]
    return hooks
