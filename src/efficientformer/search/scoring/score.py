"""What a supernet says of a subnet on held-out images. No torch."""

from dataclasses import dataclass
from typing import Literal

Judge = Literal["likelihood", "top1"]


@dataclass(frozen=True)
class Word:
    """Two accuracies in percent.

    `likelihood` is the geometric mean of the probabilities that the right classes are given. Top-1 asks one bit of an
    image, so two hundred images tell by likelihood what takes thousands by top-1 (measured: docs/search.md).
    """

    top1: float
    likelihood: float

    def by(self, judge: Judge) -> float:
        return self.top1 if judge == "top1" else self.likelihood
