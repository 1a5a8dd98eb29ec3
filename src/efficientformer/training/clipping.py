"""Gradients that are too large for their weights, or too large at all, are made smaller."""

from collections.abc import Collection

from torch import Tensor, nn

from efficientformer.training.recipe import Recipe


def clip_gradients(model: nn.Module, recipe: Recipe, scaled: Collection[str] = ()) -> Tensor:
    """Clip the gradients in place and return the norm that they had together; if it is not finite, do not use them.

    By `clip_norm` all are scaled alike, so that their norm is at most that. By `agc` (Brock et al., 2021) each unit of
    a tensor is scaled by itself, so that the norm of its gradient is at most that share of the norm of its weights. A
    unit is a row of a tensor's first dimension, which makes one output of a convolution or linear layer; a tensor of
    one dimension, such as a bias or a norm, is one unit. Norms of weights count as at least 1e-3, so that zeros can be
    learned. As in that paper linear classifiers are not clipped.

    scaled: last parts of names of parameters with a learning rate of their own, such as path logits. They are not the
        weights of a unit, and `agc` leaves them as they are.
    """
    if not recipe.agc:
        return nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    from timm.utils.agc import adaptive_clip_grad  # seconds to import

    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    kept = {id(parameter) for layer in _classifiers(model) for parameter in layer.parameters()}
    adaptive_clip_grad(
        [
            parameter
            for name, parameter in model.named_parameters()
            if id(parameter) not in kept and name.rsplit(".", 1)[-1] not in scaled
        ],
        clip_factor=recipe.agc,
    )
    return norm


def _classifiers(model: nn.Module) -> list[nn.Linear]:
    """The linear layers that give the logits of a network, also of timm's, or of a supernet."""
    heads = model.get_classifier() if hasattr(model, "get_classifier") else getattr(model, "head", None)  # type: ignore[operator]
    heads = heads if isinstance(heads, tuple | list) else (heads,)
    return [head for head in heads if isinstance(head, nn.Linear)]
