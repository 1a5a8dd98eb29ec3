"""What the first of several processes asks the others to do for a search."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from efficientformer.search.subnet import Subnet

Asked = tuple[Subnet, float]
"""A subnet, and the accuracy that it has to reach to be of interest."""


@dataclass(frozen=True)
class UseWeights:
    """Score with these weights of the supernet from now on."""

    weights: Mapping[str, Tensor]


@dataclass(frozen=True)
class ScoreOneEach:
    """Score the subnet at one's own rank; there may be fewer than processes."""

    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class TrainAlone:
    """Train a subnet from its initial weights, all processes together; the first one's weights count."""

    subnet: Subnet
    title: str
