"""One budget on its way to a network, by a latency table that measurements may correct."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from efficientformer.pipeline.run.budget import Budget
from efficientformer.pipeline.slimming.promise import Promise
from efficientformer.search.candidates import State


@dataclass
class Aim:
    """A network is wanted whose latency by the table is at most `target_ms`.

    `limits` are what the architecture may have at most of what else is limited. A network that is found may turn out
    too slow when it is measured, which `corrections` tell; then another one has to be found, for a lower target.
    """

    promise: Promise
    budget_ms: float
    target_ms: float
    limits: dict[str, float]
    step: int = 0
    polished: list[State] = field(default_factory=list)
    tried: list[tuple[State, float]] = field(default_factory=list)
    num_judged: int = 0
    num_replaced: int = 0
    is_found: bool = False
    is_confirmed: bool = False
    corrections: list[dict[str, Any]] = field(default_factory=list)

    @property
    def budget(self) -> Budget:
        return self.promise.budget

    def allows(self, predicted: Mapping[str, float]) -> bool:
        return all(value <= self.limits[name] for name, value in predicted.items())

    @property
    def state(self) -> State:
        """The network found: the best of the trials, what polishing made of it, or where slimming met the target."""
        if self.tried:
            return max(self.tried, key=lambda trial: trial[1])[0]
        return self.polished[-1]

    def replace(self) -> None:
        """Another network has to be found."""
        self.num_replaced += 1
        self.is_found = False

    def correct(self, measured_ms: float, limit_ms: float) -> dict[str, Any]:
        """Aim lower: what the table predicted took up to `measured_ms`, where `limit_ms` are allowed."""
        predicted_ms = self.state.latency_ms
        self.target_ms = self.promise.lower_target_ms(predicted_ms, measured_ms, limit_ms)
        self.replace()
        self.corrections.append(
            {
                "budget": self.budget.text,
                "step": self.step,
                "measured_ms": measured_ms,
                "limit_ms": limit_ms,
                "predicted_ms": predicted_ms,
                "scale": measured_ms / predicted_ms,
            }
        )
        return self.corrections[-1]
