"""A network's answers and losses, batch by batch, and the score that they amount to."""

import math

import torch
from torch import Tensor

from efficientformer.search.scoring.score import Score
from efficientformer.tasks.kind import SearchedTask

SHARPNESS = torch.tensor([2 ** (step / 12) for step in range(-24, 37)])
"""Factors of the logits, an inverse temperature each. Neighbors differ by 6 %, which costs a likelihood of 50 % at most
0.02 points; beyond the ends lie networks that are hardly trained."""


def losses_by_sharpness(logits_BK: Tensor, labels: Tensor, kind: SearchedTask) -> Tensor:
    """The task's losses (SHARPNESS, B) of logits (B, classes) at every factor."""
    return kind.losses_at(SHARPNESS, logits_BK, labels)


class Tally:
    """The primary score of the task and the likelihood of a network over the images added so far.

    The weights of a supernet make some subnets surer than others, which training alone would put right (measured:
    docs/search.md). So the likelihood is that at the temperature which suits the network best on these images.
    """

    def __init__(self, kind: SearchedTask) -> None:
        self._kind, self._count, self._num_images = kind, kind.count(), 0
        self._losses = torch.zeros(len(SHARPNESS), dtype=torch.float64)

    def add(self, logits_BK: Tensor, labels: Tensor) -> None:
        """Count a batch of logits (B, classes), float32 on the CPU, and its labels, as the loader gives them."""
        self._num_images += len(labels)
        self._count.add(logits_BK, labels)
        self._losses += losses_by_sharpness(logits_BK, labels, self._kind).sum(dim=1, dtype=torch.float64)

    def score(self, num_left: int = 0) -> Score:
        """The score if `num_left` further images are answered right with probability 1: the best still possible."""
        likelihood = math.exp(-float(self._losses.min()) / (self._num_images + num_left))
        return Score(self._count.best(num_left), 100 * likelihood)
