"""Measure the proposed networks before any is trained, since a table may predict too little."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from efficientformer.arch.spec import Architecture
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.timing.measure_networks import MIN_ROUNDS
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.aim import Aim
from efficientformer.pipeline.slimming.limits import MEASURED, UNITS, Limits
from efficientformer.pipeline.slimming.measure import (
    LARGEST,
    latency_with_largest,
    measure_briefly_with_largest,
    prepare_untrained,
)

LIMITS_HEADROOM = 0.01
"""Share of a measured limit that is left free: for class names in the file, and for variation of memory."""


@dataclass
class _Candidate:
    """A network that is measured, once or several times, with the largest network in the same rounds."""

    architecture: Architecture
    prepared: Prepared
    own: Measurement | None = None
    largest: Measurement | None = None

    @property
    def num_rounds(self) -> int:
        return 0 if self.own is None else self.own.timed_runs

    def add(self, own: Measurement, largest: Measurement) -> dict[str, Measurement]:
        """All rounds so far, of the network and of the largest (key `LARGEST`)."""
        self.own, self.largest = _pooled(self.own, own), _pooled(self.largest, largest)
        return {"own": replace(self.own, ratio=self.own.ratio_to(self.largest, LARGEST)), LARGEST: self.largest}


class Confirmation:
    """Measures proposed networks interleaved with the largest of the space, and corrects aims of slow ones.

    If a few rounds are inconclusive, the network is measured for the same number again. After `verify.rounds` rounds an
    undecided network counts as too slow.
    """

    def __init__(self, workspace: Workspace, limits: Limits) -> None:
        self._workspace, self._limits = workspace, limits
        self._largest: Prepared | None = None
        self._candidates: dict[str, _Candidate] = {}

    def confirm(self, aims: Sequence[Aim]) -> None:
        """Measure untrained networks. Each aim is confirmed, corrected, or unchanged and to be measured again."""
        workspace, settings = self._workspace, self._workspace.settings
        self._largest = self._largest or prepare_untrained(workspace, workspace.space.largest())
        candidates = {aim.budget.slug: self._candidate(aim) for aim in aims}
        rounds = max(MIN_ROUNDS, *(network.num_rounds for network in candidates.values()))
        prepared = {slug: network.prepared for slug, network in candidates.items()}
        measured = measure_briefly_with_largest(workspace, self._largest, prepared, rounds=rounds)
        for aim in aims:
            network = candidates[aim.budget.slug]
            pooled = network.add(measured[aim.budget.slug], measured[LARGEST])
            latency = latency_with_largest(pooled, "own", aim.promise)
            limit_ms = aim.promise.limit_ms(pooled[LARGEST].at(settings.percentile)[0])
            free_ms = aim.promise.confirmation_limit_ms(limit_ms)
            middle_ms, (_, most_ms) = latency
            keeps_limits, verdict = self._keeps_limits(aim), aim.promise.verdict(latency, free_ms)
            aim.is_confirmed = verdict == "kept" and keeps_limits
            is_undecided = verdict == "open" and middle_ms <= free_ms and network.num_rounds < settings.verify.rounds
            if verdict != "kept" and not is_undecided:
                self._correct(aim, most_ms, limit_ms)
            elif not keeps_limits:
                aim.reject()

    def _candidate(self, aim: Aim) -> _Candidate:
        architecture, slug = aim.proposed.state.subnet.architecture, aim.budget.slug
        if slug not in self._candidates or self._candidates[slug].architecture != architecture:
            self._candidates[slug] = _Candidate(architecture, prepare_untrained(self._workspace, architecture))
        return self._candidates[slug]

    def _correct(self, aim: Aim, most_ms: float, limit_ms: float) -> None:
        correction = aim.correct(most_ms, limit_ms)
        self._workspace.console.say(
            f"{aim.budget.text}: measured up to {most_ms:.3f} ms, predicted {correction['predicted_ms']:.3f} ms; "
            f"{limit_ms:.3f} ms are allowed, less {aim.promise.headroom / 2:.0%} for noise. Slimming continues with "
            f"predictions times {correction['scale']:.3f}."
        )

    def _keeps_limits(self, aim: Aim) -> bool:
        """Whether the network is within its other limits; each limit that it exceeds is lowered for the search."""
        architecture = aim.proposed.state.subnet.architecture
        predicted, keeps = self._limits.predicted(architecture), True
        for name, value in self._limits.measured(architecture).items():
            most = self._limits.most[name] * ((1 - LIMITS_HEADROOM) if name in MEASURED else 1)
            if value > most:
                keeps = False
                aim.limits[name] = predicted[name] * most / value
                self._workspace.console.say(
                    f"{aim.budget.text}: {value:.2f} {UNITS[name]} measured, {self._limits.most[name]:g} allowed; "
                    "slimming continues"
                )
        return keeps


def _pooled(before: Measurement | None, then: Measurement) -> Measurement:
    """One measurement of all rounds of two measurements of a network."""
    if before is None:
        return then
    disturbed = (*before.disturbed_rounds, *(before.timed_runs + index for index in then.disturbed_rounds))
    quiet = before.is_quiet_median or then.is_quiet_median
    samples_ms = before.samples_ms + then.samples_ms
    return replace(then, samples_ms=samples_ms, disturbed_rounds=disturbed, is_quiet_median=quiet)
