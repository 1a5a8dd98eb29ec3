"""Before anything is trained, the networks found are measured: a table may have been too hopeful."""

from collections.abc import Sequence

from efficientformer.latency.measure_networks import MIN_ROUNDS
from efficientformer.latency.prepared import Prepared
from efficientformer.pipeline.aim import Aim
from efficientformer.pipeline.limits import MEASURED, UNITS, Limits
from efficientformer.pipeline.measure import (
    LARGEST,
    latency_beside_largest,
    measure_quickly_beside_largest,
    prepare_untrained,
)
from efficientformer.pipeline.workspace import Workspace

LIMITS_HEADROOM = 0.01
"""Share of a measured limit that is left free: for the names of classes in the file, and for what memory varies by."""


class Confirmation:
    """Measures the networks of aims beside the largest of the space, and corrects the aims of those too slow.

    What few rounds leave open is measured again in twice as many, alone or beside what takes the place of others.
    After as many rounds as a promise takes, a network still at the limit is too slow.
    """

    def __init__(self, workspace: Workspace, limits: Limits) -> None:
        self._workspace, self._limits = workspace, limits
        self._largest: Prepared | None = None
        self._rounds = MIN_ROUNDS
        self._prepared: dict[str, tuple[object, Prepared]] = {}

    def confirm(self, aims: Sequence[Aim]) -> None:
        """Measure untrained networks; each aim is confirmed, corrected, or left as it is to be measured again."""
        workspace = self._workspace
        self._largest = self._largest or prepare_untrained(workspace, workspace.space.largest())
        measured = measure_quickly_beside_largest(
            workspace, self._largest, {aim.budget.slug: self._prepare(aim) for aim in aims}, rounds=self._rounds
        )
        headroom, percentile = workspace.settings.slim.headroom, workspace.settings.percentile
        largest_ms, _ = measured[LARGEST].at(percentile)
        is_last = self._rounds >= workspace.settings.verify.rounds
        some_are_open = False
        for aim in aims:
            middle_ms, (_, most_ms) = latency_beside_largest(measured, aim.budget.slug, aim.budget, percentile)
            limit_ms = aim.budget.latency_ms(largest_ms)
            free_ms = (1 - headroom / 2) * limit_ms
            keeps_limits, is_fast = self._keeps_limits(aim), most_ms <= free_ms
            aim.is_confirmed = is_fast and keeps_limits
            if not is_fast and (middle_ms > free_ms or is_last):
                self._correct(aim, most_ms, limit_ms)
            elif not keeps_limits:
                aim.replace()
            else:
                some_are_open |= not is_fast
        if some_are_open:
            self._rounds = min(2 * self._rounds, max(MIN_ROUNDS, workspace.settings.verify.rounds))

    def _prepare(self, aim: Aim) -> Prepared:
        architecture = aim.state.subnet.architecture
        known, prepared = self._prepared.get(aim.budget.slug, (None, None))
        if prepared is None or known != architecture:
            prepared = prepare_untrained(self._workspace, architecture)
            self._prepared[aim.budget.slug] = architecture, prepared
        return prepared

    def _correct(self, aim: Aim, most_ms: float, limit_ms: float) -> None:
        headroom = self._workspace.settings.slim.headroom
        made = aim.correct(most_ms, limit_ms, headroom)
        self._workspace.console.say(
            f"{aim.budget.text} allows {limit_ms:.3f} ms, less {headroom / 2:.0%} for noise; measured up to "
            f"{most_ms:.3f} ms where the table says {made['predicted_ms']:.3f} ms: slimming goes on from the corrected "
            f"scale {made['scale']:.3f}"
        )

    def _keeps_limits(self, aim: Aim) -> bool:
        """Whether the network keeps what is limited; aim lower where it does not."""
        architecture = aim.state.subnet.architecture
        predicted, keeps = self._limits.predicted(architecture), True
        for name, value in self._limits.measured(architecture).items():
            most = self._limits.most[name] * ((1 - LIMITS_HEADROOM) if name in MEASURED else 1)
            if value > most:
                keeps = False
                aim.limits[name] = predicted[name] * most / value
                self._workspace.console.say(
                    f"{aim.budget.text}: {value:.2f} {UNITS[name]} measured, {self._limits.most[name]:g} allowed; "
                    "slimming goes on"
                )
        return keeps
