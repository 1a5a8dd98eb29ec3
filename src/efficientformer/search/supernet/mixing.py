"""How a training step combines the candidate paths of a MetaPath (paper, section 4.2). No torch."""

from dataclasses import dataclass
from typing import Literal

Noise = Literal["uniform", "gumbel", "none"]
Sampling = Literal["soft", "single", "even"]
ElasticWidth = Literal["none", "random", "sandwich"]
"""Widths that a step trains: the largest; random ones in every other step; or largest, smallest and random together."""

BatchNormForm = Literal["shared", "switchable"]
"""Of a slimmable network: one batch norm cut to all widths, or one for each number of channels."""


@dataclass(frozen=True)
class Mixing:
    """How candidates are combined in one training step.

    soft evaluates and mixes all of them, as the paper does. The others evaluate one, with a straight-through gradient
    to the logits. single samples it by the noisy logits. even samples every candidate with equal probability, so that
    paths with low logits are trained enough to be scored too.
    """

    temperature: float
    noise: Noise = "uniform"
    sampling: Sampling = "soft"
