"""The meaning of "within the budget": the target of the search, the verdict of a measurement, corrections."""

from dataclasses import dataclass
from typing import Literal

from efficientformer.latency.timing.measurement import Percentile, interval_holds
from efficientformer.pipeline.run.budget import Budget
from efficientformer.pipeline.run.workspace import Workspace

Verdict = Literal["kept", "open", "broken"]
Latency = tuple[float, tuple[float, float]]
"""Measured milliseconds, and their interval, of 95 % confidence or more."""
CORRECTION_MARGIN = 1.01
"""After a broken promise the next network is this factor faster than the measurement asks for."""


@dataclass(frozen=True)
class Promise:
    """That a network's latency is within a budget: the upper end of its interval is at most the limit.

    The final verdict is of an interval over sessions (`latency.timing.repeated`); slimming confirms untrained networks
    by one of a single session.

    budget: as the user gave it. If it is a share, its limit in milliseconds depends on the largest network.
    headroom: share of the limit that the search leaves free, for noise of the next measurement.
    percentile: which latency is promised, the p50 of the undisturbed samples or the p90 of all.
    """

    budget: Budget
    headroom: float
    percentile: Percentile = "p50"

    def limit_ms(self, largest_ms: float) -> float:
        """The budget in milliseconds, given the latency of the largest network."""
        return self.budget.latency_ms(largest_ms)

    def least_limit_ms(self, smallest_ms: float) -> float:
        """The smallest limit that can be met if the smallest network of the space takes `smallest_ms`."""
        return smallest_ms / (1 - self.headroom)

    def target_ms(self, limit_ms: float, correction: float = 1.0) -> float:
        """The target of the search, as predicted by the table; `correction` is measured over predicted latency."""
        return limit_ms * (1 - self.headroom) / correction

    def verdict(self, measured: Latency, limit_ms: float) -> Verdict:
        """Kept or broken if the whole interval is on one side of the limit, else open."""
        _, interval_ms = measured
        if interval_ms[1] <= limit_ms:
            return "kept"
        return "open" if interval_holds(interval_ms, limit_ms) else "broken"

    def confirmation_limit_ms(self, limit_ms: float) -> float:
        """The limit of an untrained network: half of the headroom stays free for the exported file."""
        return (1 - self.headroom / 2) * limit_ms

    def lower_target_ms(self, predicted_ms: float, measured_ms: float, limit_ms: float) -> float:
        """The next target after a network predicted at `predicted_ms` was measured to be too slow."""
        return predicted_ms * limit_ms * (1 - self.headroom) / measured_ms

    @staticmethod
    def correction(measured_ms: float, limit_ms: float, budget_ms: float, predicted_ms: float) -> float:
        """Measured over predicted latency, for `target_ms`, after an exported file broke the promise.

        measured_ms, limit_ms: of the verification, from the same rounds.
        budget_ms, predicted_ms: the limit of the search, and the prediction by the table.
        """
        too_slow = measured_ms / limit_ms
        return CORRECTION_MARGIN * too_slow * budget_ms / predicted_ms


def promises(workspace: Workspace) -> list[Promise]:
    """One for each budget of the run."""
    settings = workspace.settings
    return [Promise(budget, settings.slim.headroom, settings.percentile) for budget in workspace.budgets]
