"""One budget on its way to a network, with a latency table that measurements may correct."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from efficientformer.pipeline.run.budget import Budget
from efficientformer.pipeline.slimming.descent import Place
from efficientformer.pipeline.slimming.promise import Promise
from efficientformer.search.candidates import State


@dataclass(frozen=True)
class Proposal:
    """The network that the search proposes for a budget.

    place: of the descent, at which the target was met.
    polished: the state after that step, then every improvement by polishing.
    trials: networks that were trained briefly, with their top-1; empty without trials.
    """

    place: Place
    polished: Sequence[State]
    trials: Sequence[tuple[State, float]] = ()

    @property
    def state(self) -> State:
        """The best of the trials, else the last state of polishing."""
        if self.trials:
            return max(self.trials, key=lambda trial: trial[1])[0]
        return self.polished[-1]


@dataclass
class Aim:
    """The search for a network whose latency by the table is at most `target_ms`.

    limits: largest predicted value of each other limit. Measurements lower them, as they lower `target_ms`.
    proposal: the network found, None while one has to be searched.
    is_confirmed: whether the proposal was measured within the budget and the limits.
    num_scored: scores of networks by polishing and for trials.
    num_rejected: proposals that measured too slow or too large.
    corrections: of the table, one for every proposal that measured too slow, with its place.
    """

    promise: Promise
    budget_ms: float
    target_ms: float
    limits: dict[str, float]
    proposal: Proposal | None = None
    is_confirmed: bool = False
    num_scored: int = 0
    num_rejected: int = 0
    corrections: list[tuple[Place, dict[str, Any]]] = field(default_factory=list)

    @property
    def budget(self) -> Budget:
        return self.promise.budget

    @property
    def proposed(self) -> Proposal:
        """The proposal, where there is one."""
        assert self.proposal is not None
        return self.proposal

    @property
    def places(self) -> list[Place]:
        """Of the descent: of the proposal, and of those that measured too slow."""
        return [self.proposed.place, *(place for place, _ in self.corrections)]

    def allows(self, predicted: Mapping[str, float]) -> bool:
        """Whether an architecture with these predicted values is within the limits other than latency."""
        return all(value <= self.limits[name] for name, value in predicted.items())

    def reject(self) -> None:
        """Have another network searched."""
        self.num_rejected += 1
        self.proposal = None

    def correct(self, measured_ms: float, limit_ms: float) -> dict[str, Any]:
        """Reject a proposal that took up to `measured_ms` where `limit_ms` are allowed, and lower the target.

        Returns the correction as a record.
        """
        place, predicted_ms = self.proposed.place, self.proposed.state.latency_ms
        self.target_ms = self.promise.lower_target_ms(predicted_ms, measured_ms, limit_ms)
        self.reject()
        correction = {
            "budget": self.budget.text,
            "measured_ms": measured_ms,
            "limit_ms": limit_ms,
            "predicted_ms": predicted_ms,
            "scale": measured_ms / predicted_ms,
        }
        self.corrections.append((place, correction))
        return correction
