"""What an action of slimming gains: milliseconds, Mobile Efficiency Score, or a weighted sum of savings. No torch.

A step takes the action that costs the least accuracy per gain. EfficientFormer's gain is the latency saved (paper,
section 4.2), EfficientFormerV2's that of the Mobile Efficiency Score (V2, section on joint search).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from efficientformer.arch.cost import BYTES_PER_VALUE, part_cost
from efficientformer.arch.parts import network_parts
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import Architecture

LEAST_EXCHANGE = 0.005
"""Least saving of an exchange of channels, as a fraction of the latency. A table does not resolve smaller savings, and
a descent that follows the noise of accuracies would wander from width to width."""


@dataclass(frozen=True)
class Costs:
    """What a network costs: latency in milliseconds, millions of parameters, MiB of file and of memory.

    All but the latency follow from the architecture. The file is as large as the weights; memory is that of the weights
    and of the activations of one part, the one with the most.
    """

    latency: float
    params: float = math.nan
    file: float = math.nan
    memory: float = math.nan


CostOracle = Callable[[Architecture, float], Costs]
"""Costs of an architecture whose latency (ms) is known."""


def costs_at(resolution: int | Grid, num_classes: int) -> CostOracle:
    """Costs of networks of this resolution and number of classes."""

    def costs(architecture: Architecture, latency_ms: float) -> Costs:
        parts = [part_cost(part) for part in network_parts(architecture, resolution, num_classes)]
        num_params, most = sum(part.num_params for part in parts), max(part.num_activations for part in parts)
        weights_mib, activations_mib = (count * BYTES_PER_VALUE / 2**20 for count in (num_params, most))
        return Costs(latency_ms, num_params / 1e6, weights_mib, weights_mib + activations_mib)

    return costs


def only_latency(_: Architecture, latency_ms: float) -> Costs:
    """Costs for the objective `latency`, to which no other matters."""
    return Costs(latency_ms)


MES_SCORE, MES_UNITS, MES_EXPONENTS = 100.0, Costs(latency=1.0, params=3.0), {"params": 0.5, "latency": 1.0}
"""Base score, units and exponents of the Mobile Efficiency Score: 3 M parameters and 1 ms (V2, search objective)."""


def mobile_efficiency_score(costs: Costs) -> float:
    """100 times the product of (cost / unit) ** -exponent over size and latency: higher is better (V2)."""
    score = MES_SCORE
    for name, exponent in MES_EXPONENTS.items():
        score *= (getattr(costs, name) / getattr(MES_UNITS, name)) ** -exponent
    return score


@dataclass(frozen=True)
class Objective:
    """What an action gains, by the costs before and after it.

    name: as in a setting.
    weights: by the name of a cost.
    costs: what a network costs, by its latency; an objective other than latency needs all of it (`costs_at`).

    latency: milliseconds saved.
    mes: points of the Mobile Efficiency Score.
    Weights, such as `latency=1,params=0.5`: the sum of each weight times the logarithm of the factor by which that
    cost shrinks. Units do not matter, and gains add up over steps; this is the logarithm of a score like MES, whose
    exponents are the weights.
    """

    name: str = "latency"
    weights: tuple[tuple[str, float], ...] = ()
    costs: CostOracle = only_latency

    @classmethod
    def parse(cls, text: str, costs: CostOracle = only_latency) -> "Objective":
        """`latency`, `mes`, or weights. Raises ValueError for anything else."""
        if text in ("latency", "mes"):
            return cls(text, costs=costs)
        known, weights = [field.name for field in fields(Costs)], dict[str, float]()
        for item in text.split(","):
            name, is_given, value = (word.strip() for word in item.partition("="))
            try:
                weight = float(value)
            except ValueError:
                weight = math.nan
            if not is_given or name not in known or name in weights or not 0 < weight < math.inf:
                raise ValueError(
                    f"must be latency, mes, or a positive weight for each of some of {', '.join(known)}, such as "
                    f"latency=1,params=0.5, not {text[:60]!r}"
                )
            weights[name] = weight
        return cls(",".join(f"{name}={weight:g}" for name, weight in weights.items()), tuple(weights.items()), costs)

    @property
    def is_latency(self) -> bool:
        return self.name == "latency"

    @property
    def unit(self) -> str:
        """What a gain of 1 is, in words."""
        return {"latency": "millisecond", "mes": "point of MES"}.get(self.name, "unit gained")

    def gain(self, before: Costs, after: Costs) -> float:
        """What the objective gains from one network to another; negative if it loses."""
        if self.is_latency:
            return before.latency - after.latency
        if self.name == "mes":
            return mobile_efficiency_score(after) - mobile_efficiency_score(before)
        return sum(weight * math.log(getattr(before, name) / getattr(after, name)) for name, weight in self.weights)

    def least_exchange(self, before: Costs) -> float:
        """Least gain of an exchange of channels: that of all costs half a percent lower."""
        if self.is_latency:
            return LEAST_EXCHANGE * before.latency
        lower = {field.name: (1 - LEAST_EXCHANGE) * getattr(before, field.name) for field in fields(Costs)}
        return self.gain(before, replace(before, **lower))


LATENCY = Objective()
