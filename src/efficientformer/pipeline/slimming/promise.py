"""What "within the budget" means, in one place: where the search aims, what a measurement decides, how to aim lower."""

from dataclasses import dataclass
from typing import Literal

from efficientformer.latency.timing.measurement import Percentile, interval_holds
from efficientformer.pipeline.run.budget import Budget
from efficientformer.pipeline.run.workspace import Workspace

Verdict = Literal["kept", "open", "broken"]
Latency = tuple[float, tuple[float, float]]
"""Milliseconds as measured, and their 95 % interval."""
CORRECTION_MARGIN = 1.01
"""After a broken promise the next network is this factor faster than the measurement asks for."""


@dataclass(frozen=True)
class Promise:
    """That a network's latency is within a budget: the upper end of its 95 % interval is at most the limit.

    budget: what the person asked for. Its limit in milliseconds depends on the largest network, where it is a share.
    headroom: share of the limit that the search leaves free for the noise of the next measurement.
    percentile: which latency is promised, the p50 of the quiet samples or the p90 of all.
    """

    budget: Budget
    headroom: float
    percentile: Percentile = "p50"

    def limit_ms(self, largest_ms: float) -> float:
        """The budget in milliseconds, given the latency of the largest network."""
        return self.budget.latency_ms(largest_ms)

    def least_limit_ms(self, smallest_ms: float) -> float:
        """The smallest limit that a search space can meet whose smallest network takes `smallest_ms`."""
        return smallest_ms / (1 - self.headroom)

    def target_ms(self, limit_ms: float, correction: float = 1.0) -> float:
        """The latency by the table that the search aims at; `correction` is measured over predicted latency."""
        return limit_ms * (1 - self.headroom) / correction

    def verdict(self, measured: Latency, limit_ms: float) -> Verdict:
        """Kept or broken where the whole interval lies on one side of the limit, else open."""
        _, interval_ms = measured
        if interval_ms[1] <= limit_ms:
            return "kept"
        return "open" if interval_holds(interval_ms, limit_ms) else "broken"

    def confirmation_limit_ms(self, limit_ms: float) -> float:
        """What an untrained network may take: half of the headroom stays free for the exported file."""
        return (1 - self.headroom / 2) * limit_ms

    def lower_target_ms(self, predicted_ms: float, measured_ms: float, limit_ms: float) -> float:
        """Where to aim after a network that was predicted at `predicted_ms` measured too slow."""
        return predicted_ms * limit_ms * (1 - self.headroom) / measured_ms

    @staticmethod
    def correction(measured_ms: float, limit_ms: float, budget_ms: float, predicted_ms: float) -> float:
        """Measured over predicted latency, for `target_ms`, after an exported file broke the promise.

        measured_ms, limit_ms: of the verification, in the same rounds.
        budget_ms, predicted_ms: the limit that the search aimed at, and the table's prediction.
        """
        too_slow = measured_ms / limit_ms
        return CORRECTION_MARGIN * too_slow * budget_ms / predicted_ms


def promises(workspace: Workspace) -> list[Promise]:
    """One for each budget of the run."""
    settings = workspace.settings
    return [Promise(budget, settings.slim.headroom, settings.percentile) for budget in workspace.budgets]
