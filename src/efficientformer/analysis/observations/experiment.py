"""Experiments: two candidates that differ in one choice, with or without a claim of the paper about their ratio."""

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
class Trial:
    """One option of a choice of a space (`choices`), timed in place of another.

    choice: key of the choice. option, against: the two options in words.
    place: where it was tried, such as "stage 1" or "whole V2-S0"; `setting` describes the place.
    subject, baseline: the candidates with `option` and with `against`.
    """

    choice: str
    option: str
    against: str
    place: str
    setting: str
    subject: str
    baseline: str
    is_network: bool


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
    """One of the paper's four observations, or with number None the choices of a space: the candidates, all timed in
    the same rounds, and what to compare."""

    number: int | None
    candidates: tuple[Candidate, ...]
    experiments: tuple[Experiment, ...]
    switches: tuple[Switch, ...]
    controls: tuple[Control, ...]
    trials: tuple[Trial, ...] = ()

    @property
    def title(self) -> str:
        return "choices of a space" if self.number is None else f"observation {self.number}"


class Plan:
    """Builder of an observation; a candidate that several experiments use is timed once."""

    def __init__(self, number: int | None) -> None:
        self._number = number
        self._candidates: dict[str, Candidate] = {}
        self._experiments: list[Experiment] = []
        self._switches: list[Switch] = []
        self._trials: list[Trial] = []

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

    def try_option(
        self, choice: str, option: str, against: str, where: tuple[str, str], subject: Candidate, baseline: Candidate
    ) -> None:
        """Compare two options of a choice; `where` is the place and the setting that describes it."""
        self._add(subject, baseline)
        place, setting = where
        is_network = place.startswith("whole ")
        self._trials.append(Trial(choice, option, against, place, setting, subject.name, baseline.name, is_network))

    def finished(self) -> Observation:
        """The observation, with a control for its first part and for every published network.

        Copies are prepared last, so that a copy and its original are as far apart in memory as any two candidates.
        """
        pairs = [*self._experiments, *self._trials]
        parts = [pair.subject for pair in pairs if not pair.is_network]
        published = dict.fromkeys(switch.network for switch in self._switches)
        published |= dict.fromkeys([trial.baseline for trial in self._trials if trial.is_network][:1])
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
            tuple(self._trials),
        )

    def _add(self, *candidates: Candidate) -> None:
        for candidate in candidates:
            self._candidates.setdefault(candidate.name, candidate)
