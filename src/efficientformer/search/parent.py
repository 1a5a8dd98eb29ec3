"""A trained network as the ancestor of smaller ones: what it has learned is cut, not learned again."""

from collections.abc import Sequence

import torch

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import UsageError
from efficientformer.models.network import Network
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.scoring.accuracy import absorb_network, extract_network
from efficientformer.search.scoring.channels import sort_ancestor
from efficientformer.search.scoring.hidden_means import hidden_means, keep_means
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.kind import SearchedTask

READING_INSIDE = (
    "mlp.fc2.weight",
    "token_mixer.proj.weight",
    "token_mixer.proj.conv.weight",
    "talking_head1.weight",
    "talking_head2.weight",
)
"""Tensors that read the hidden channels of a block or its heads."""


@torch.no_grad()
def inherit(ancestor: Ancestor, parent: Network) -> None:
    """Give an ancestor the weights of a trained network, the largest of its space, in place.

    As a subnet that network then computes what it computed. Whatever else the space has at a place (a wider MLP, the
    heads, the attention or the kind of block that the parent does not have there) adds nothing: its layer scales and
    the weights behind its hidden channels and its heads are zero. Raises UsageError if the network is not the largest
    of the space.
    """
    require_largest(ancestor.space, parent.architecture)
    largest = Subnet.largest(ancestor.space)
    for name, parameter in ancestor.named_parameters():
        if name.endswith(READING_INSIDE) or "layer_scale" in name:
            parameter.zero_()
    absorb_network(ancestor, largest, parent)


def require_largest(space: SearchSpace, parent: Architecture) -> None:
    """Raises UsageError for a parent that is not the largest network of its space."""
    if parent != space.largest():
        raise UsageError(
            f"The parent is {parent}, and the largest network of the space is {space.largest()}. Use --space parent, "
            "which is below it."
        )


def prepare_to_cut(
    ancestor: Ancestor, batches: Sequence[Batch], trained: Subnet, kind: SearchedTask
) -> list[list[int]]:
    """Sort the channels and heads of an ancestor that has the weights of a trained network by their importance to it,
    and measure the means of its hidden neurons, in place. The network computes the same. Returns the order of every
    stage's channels.

    batches: images (B, C, H, W) and labels; 250 to 1,000 images in all.
    trained: that network, such as the parent.
    kind: what the labels are, and the loss.
    """
    orders = sort_ancestor(ancestor, batches, kind, measured_on=trained)
    keep_means(ancestor, trained, hidden_means(extract_network(ancestor, trained), [x_BCHW for x_BCHW, _ in batches]))
    return orders
