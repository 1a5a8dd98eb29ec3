"""The score of a subnet on held-out images, with the supernet's weights. No torch."""

from dataclasses import dataclass
from typing import Literal

Metric = Literal["likelihood", "top1"]


@dataclass(frozen=True)
class Score:
    """Two accuracies in percent.

    `likelihood` is the geometric mean of the probabilities of the correct classes, at the network's best temperature.
    Top-1 extracts one bit per image: likelihood on 200 images ranks networks as well as top-1 on thousands (measured:
    docs/search.md).
    """

    top1: float
    likelihood: float

    def value(self, metric: Metric) -> float:
        """The accuracy that `metric` names."""
        return self.top1 if metric == "top1" else self.likelihood
