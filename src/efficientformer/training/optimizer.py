"""AdamW with the parameter groups of the recipe.

Norms, biases, layer scales and attention bias tables are not decayed, nor are parameters whose learning rate the task
scales, such as the path logits of a supernet.
"""

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn, optim


def build_optimizer(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    lr_scales: Mapping[str, float] = MappingProxyType({}),
) -> optim.AdamW:
    """AdamW whose groups carry `lr_scale`; the loop sets `lr = schedule * lr_scale` at every step.

    layer_decay: learning rate of each layer as a fraction of the next layer's, up to the head; below 1 it needs the
        `group_matcher` of a network, and `lr_scales` have no effect.
    lr_scales: see `Task.lr_scales`.
    """
    decayed, plain = list[nn.Parameter](), dict[str, nn.Parameter]()
    scaled: dict[str, list[nn.Parameter]] = {leaf: [] for leaf in lr_scales}
    for name, parameter in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in scaled:
            scaled[leaf].append(parameter)
        elif parameter.ndim <= 1 or leaf in ("bias", "attention_bias") or "layer_scale" in leaf:
            plain[name] = parameter
        else:
            decayed.append(parameter)
    if layer_decay < 1:
        from timm.optim import param_groups_layer_decay  # seconds to import

        groups = param_groups_layer_decay(model, weight_decay, list(plain), layer_decay=layer_decay)
        return optim.AdamW(groups, lr=lr, fused=True)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": list(plain.values()), "weight_decay": 0.0, "lr_scale": 1.0},
        *({"params": scaled[leaf], "weight_decay": 0.0, "lr_scale": scale} for leaf, scale in lr_scales.items()),
    ]
    return optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
