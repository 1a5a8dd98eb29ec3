"""The score of a subnet on held-out images, with the supernet's weights. No torch."""

from dataclasses import dataclass
from typing import Literal

Metric = Literal["likelihood", "top1", "mean_ap", "box_ap", "miou"]


@dataclass(frozen=True)
class Score:
    """Two accuracies in percent.

    `primary` is the score that networks of the task are compared by: top-1 or, of several labels an image, mean average
    precision. `likelihood` is the
    geometric mean of the probabilities of the correct answers, at the network's best temperature. Top-1 extracts one
    bit per image: likelihood on 200 images ranks networks as well as top-1 on thousands (measured: docs/search.md).
    """

    primary: float
    likelihood: float

    def value(self, metric: Metric) -> float:
        """The accuracy that `metric` names."""
        return self.likelihood if metric == "likelihood" else self.primary
