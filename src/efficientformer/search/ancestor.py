"""An ancestor: a module that subnets take their weights from.

The supernet of MetaPaths is one kind, the slimmable network another. A tensor of a subnet is always the first channels
of a tensor of the ancestor; which one, the ancestor knows.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.search.importance import PathProbabilities
from efficientformer.search.subnet import Subnet


class Ancestor(nn.Module, ABC):
    """The weights of all networks of a space, for images of one resolution and a number of classes.

    What extracts, scores and trains subnets asks for no more than this. `hidden_means` is empty, or has the means of
    hidden neurons (`scoring.hidden_means`).
    """

    space: SearchSpace
    resolution: int | Grid
    num_classes: int
    hidden_means: nn.Module

    @abstractmethod
    def source_name(self, name: str, subnet: Subnet, shape: torch.Size) -> str:
        """The ancestor's tensor that has, as its first channels, the tensor `name` of the subnet's network.

        shape: of the subnet's tensor.
        """

    @abstractmethod
    def widest(self) -> list[Subnet]:
        """Subnets of the largest widths. Every block that any subnet has is part of a block of one of them."""

    def path_probabilities(self) -> list[list[PathProbabilities]] | None:
        """Probabilities of the paths of every place, stage by stage; None for an ancestor without path logits."""
        return None


def prefix(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The leading part of `tensor` with the given shape: the first channels along every axis."""
    return tensor[tuple(slice(size) for size in shape)]
