"""A network's right answers and losses, batch by batch, and the score that they amount to."""

import math

import torch
from torch import Tensor

from efficientformer.search.scoring.score import Score

SHARPNESS = torch.tensor([2 ** (step / 12) for step in range(-24, 37)])
"""Factors of the logits, an inverse temperature each. Neighbors differ by 6 %, which costs a likelihood of 50 % at most
0.02 points; beyond the ends lie networks that are hardly trained."""

MOST_NUMBERS = 2**20
"""Logits times factors that are in memory at a time."""


def losses_by_sharpness(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Cross entropies (SHARPNESS, B) of logits (B, classes) at every factor."""
    behind_BK = logits_BK - logits_BK.gather(1, labels_B[:, None])
    parts = behind_BK.split(max(1, MOST_NUMBERS // (len(SHARPNESS) * behind_BK.shape[1])))
    return torch.cat([(SHARPNESS[:, None, None] * part_BK).logsumexp(dim=2) for part_BK in parts], dim=1)


class Tally:
    """Top-1 and likelihood of a network over the images added so far.

    The weights of a supernet make some subnets surer than others, which training alone would put right (measured:
    docs/search.md). So the likelihood is that at the temperature which suits the network best on these images.
    """

    def __init__(self) -> None:
        self._num_images = self._num_right = 0
        self._losses = torch.zeros(len(SHARPNESS), dtype=torch.float64)

    def add(self, logits_BK: Tensor, labels_B: Tensor) -> None:
        """Count a batch of logits (B, classes), float32 on the CPU, and its labels (B,)."""
        self._num_images += len(labels_B)
        self._num_right += int((logits_BK.argmax(dim=1) == labels_B).sum())
        self._losses += losses_by_sharpness(logits_BK, labels_B).sum(dim=1, dtype=torch.float64)

    def score(self, num_left: int = 0) -> Score:
        """The score if `num_left` further images are classified with probability 1: the best still possible."""
        num_images = self._num_images + num_left
        likelihood = math.exp(-float(self._losses.min()) / num_images)
        return Score(100 * (self._num_right + num_left) / num_images, 100 * likelihood)
