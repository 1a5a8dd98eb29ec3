"""The likelihood of scores, computed apart from the package."""

import math

from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from efficientformer.search.scoring.tally import SHARPNESS


def likelihood(logits: Tensor, labels: Tensor) -> float:
    """Geometric mean of the probabilities of the correct classes in percent, at the best factor that scores try."""
    losses = [functional.cross_entropy(logits.double() * float(factor), labels).item() for factor in SHARPNESS]
    return 100 * math.exp(-min(losses))


def best_likelihood(logits: Tensor, labels: Tensor) -> float:
    """The same at the best of all factors from 1/4 to 8."""

    def loss(exponent: float) -> float:
        return functional.cross_entropy(logits.double() * 2**exponent, labels).item()

    best = minimize_scalar(loss, bounds=(-2, 3), method="bounded", options={"xatol": 1e-7})
    return 100 * math.exp(-min(best.fun, loss(-2), loss(3)))
