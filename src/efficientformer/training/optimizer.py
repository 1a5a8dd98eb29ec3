"""AdamW with the parameter groups of the recipe.

Norms, biases, layer scales and attention bias tables are not decayed. Parameters named `alpha` (the supernet's path
logits) form a group of their own: no decay and a learning rate of their own, given as a multiple of the weights'.
"""

from timm.optim import param_groups_layer_decay
from torch import nn, optim


def build_optimizer(
    model: nn.Module, *, lr: float, weight_decay: float, alpha_lr_scale: float = 1.0, layer_decay: float = 1.0
) -> optim.AdamW:
    """AdamW whose groups carry `lr_scale`; the loop sets `lr = schedule * lr_scale` at every step.

    layer_decay: learning rate of each layer as a share of that of the layer behind it, up to the head; for networks,
    whose `group_matcher` tells their layers.
    """
    decayed, alphas, plain = [], [], dict[str, nn.Parameter]()
    for name, parameter in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "alpha":
            alphas.append(parameter)
        elif parameter.ndim <= 1 or leaf in ("bias", "attention_bias") or "layer_scale" in leaf:
            plain[name] = parameter
        else:
            decayed.append(parameter)
    if layer_decay < 1:
        groups = param_groups_layer_decay(model, weight_decay, list(plain), layer_decay=layer_decay)
        return optim.AdamW(groups, lr=lr, fused=True)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": list(plain.values()), "weight_decay": 0.0, "lr_scale": 1.0},
        {"params": alphas, "weight_decay": 0.0, "lr_scale": alpha_lr_scale},
    ]
    return optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
