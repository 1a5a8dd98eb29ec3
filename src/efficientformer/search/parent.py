"""A trained network as the ancestor of smaller ones: what it has learned is cut, not learned again."""

from collections.abc import Sequence

import torch

from efficientformer.errors import UsageError
from efficientformer.models.network import Network
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.scoring.accuracy import Batch, absorb_network, extract_network
from efficientformer.search.scoring.channels import sort_ancestor
from efficientformer.search.scoring.hidden_means import hidden_means, keep_means
from efficientformer.search.subnet import Subnet


@torch.no_grad()
def inherit(ancestor: Ancestor, parent: Network) -> None:
    """Give an ancestor the weights of a trained network, the largest of its space, in place.

    As a subnet that network then computes what it computed. Whatever else the space has at a place (a wider MLP, the
    attention or the kind of block that the parent does not have there) adds nothing: its layer scales and the weights
    behind its hidden channels are zero. Raises UsageError if the network is not the largest of the space.
    """
    largest = Subnet.largest(ancestor.space)
    if parent.architecture != largest.architecture:
        raise UsageError(
            f"The parent is {parent.architecture}, and the largest network of the space is {largest.architecture}."
        )
    for name, parameter in ancestor.named_parameters():
        if "layer_scale" in name or name.endswith("mlp.fc2.weight"):
            parameter.zero_()
    absorb_network(ancestor, largest, parent)


def prepare_to_cut(ancestor: Ancestor, batches: Sequence[Batch], trained: Subnet) -> list[list[int]]:
    """Sort the channels of an ancestor that has the weights of a trained network by their importance to it, and measure
    the means of its hidden neurons, in place. The network computes the same. Returns the order of every stage's
    channels.

    batches: images (B, C, H, W) and labels; 250 to 1,000 images in all.
    trained: that network, such as the parent.
    """
    orders = sort_ancestor(ancestor, batches, measured_on=trained)
    keep_means(ancestor, trained, hidden_means(extract_network(ancestor, trained), [x_BCHW for x_BCHW, _ in batches]))
    return orders
