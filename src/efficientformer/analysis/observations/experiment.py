"""Experiments: two candidates that differ in one choice, and the paper's claim about their latency ratio."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from efficientformer.analysis.observations.claims import Claim, PaperFigure


@dataclass(frozen=True)
class Candidate:
    """A module to time, built by `build` in deploy form, on images of `input_shape` (B, C, H, W)."""

    name: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Experiment:
    """The latency of `subject` over that of `baseline`; `claim` bounds it by `threshold`. Both are None if the paper
    makes no claim about the pair."""

    claim: Claim | None
    threshold: float | None
    name: str
    setting: str
    subject: str
    baseline: str
    is_network: bool = False
    paper: PaperFigure | None = None


@dataclass(frozen=True)
class Switch:
    """A published network with one choice changed, for comparison with the published network."""

    choice: str
    network: str
    changed: str


@dataclass(frozen=True)
class Control:
    """A candidate and a copy of it with the same weights, whose latencies should be equal.

    They differ: depending on where their weights are in memory, copies differed by 1 % at 224 px and by up to 13 % at
    64 px, in every round, so intervals over rounds do not contain it. Controls that are whole networks widen the
    intervals of whole networks; controls that are parts widen those of parts.
    """

    candidate: str
    copy: str
    is_network: bool


@dataclass(frozen=True)
class Observation:
    """One of the paper's four observations: the candidates, all timed in the same rounds, and what to compare."""

    number: int
    candidates: tuple[Candidate, ...]
    experiments: tuple[Experiment, ...]
    switches: tuple[Switch, ...]
    controls: tuple[Control, ...]


class Plan:
    """Builder of an observation; a candidate that several experiments use is timed once."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._candidates: dict[str, Candidate] = {}
        self._experiments: list[Experiment] = []
        self._switches: list[Switch] = []

    def compare(
        self,
        claim: Claim | None,
        threshold: float | None,
        name: str,
        setting: str,
        subject: Candidate,
        baseline: Candidate,
        *,
        paper: PaperFigure | None = None,
    ) -> None:
        self._add(subject, baseline)
        is_network = setting.startswith("whole ")
        names = subject.name, baseline.name
        self._experiments.append(Experiment(claim, threshold, name, setting, *names, is_network, paper))

    def switch(self, choice: str, published: Candidate, changed: Candidate) -> None:
        self._add(published, changed)
        self._switches.append(Switch(choice, published.name, changed.name))

    def finished(self) -> Observation:
        """The observation, with a control for its first part and for every published network.

        Copies are prepared last, so that a copy and its original are as far apart in memory as any two candidates.
        """
        published = dict.fromkeys(switch.network for switch in self._switches)
        parts = [experiment.subject for experiment in self._experiments if not experiment.is_network]
        controls = []
        for name in (*parts[:1], *published):
            copy = replace(self._candidates[name], name=f"{name}, copy")
            self._add(copy)
            controls.append(Control(name, copy.name, name in published))
        return Observation(
            self._number,
            tuple(self._candidates.values()),
            tuple(self._experiments),
            tuple(self._switches),
            tuple(controls),
        )

    def _add(self, *candidates: Candidate) -> None:
        for candidate in candidates:
            self._candidates.setdefault(candidate.name, candidate)
