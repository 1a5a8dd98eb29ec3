"""One descent from the largest network, kept on disk: further budgets and later runs continue it.

Its steps are shared by all budgets as long as they depend on none. A stride that would go beyond a target ends at that
target instead, so from there on the target has steps of its own. What a budget gets depends on that budget alone, not
on the budgets asked before.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from efficientformer import __version__
from efficientformer.arch.spec import Architecture
from efficientformer.errors import BudgetError
from efficientformer.formats.slimming import StateRecord, StepRecord
from efficientformer.journal import Journal
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.console import ProgressUpdate
from efficientformer.pipeline.run.inputs import file_digests, image_digests, supernet_digests
from efficientformer.pipeline.run.plan import ROUND, TRACE_FORMAT
from efficientformer.pipeline.run.stamps import chosen
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.importances import place_importances
from efficientformer.pipeline.slimming.versions import Versions
from efficientformer.records import digest
from efficientformer.search.candidates import State
from efficientformer.search.importance import Importances
from efficientformer.search.objective import LATENCY, Objective, costs_at
from efficientformer.search.slim import Step, save_at_least, shortest, slim, stride_ms
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import (
    Weigh,
    patient,
    scores_known,
    weigh_in_parallel,
    weigh_in_turn,
    weigh_lazily,
)

Record = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A state of a descent: the number of steps to it, and the target whose own steps lead there; None without any.

    round: the number of the descent, from 1.
    """

    step: int
    target_ms: float | None = None
    round: int = 1


@dataclass
class _Course:
    """The states towards one target: `num_shared` steps of all targets, then its own. `records[i]` is after i steps."""

    target_ms: float | None
    records: list[Record]
    num_shared: int = 0
    ahead: Iterator[Step] | None = field(default=None, repr=False)


def descent_fingerprint(workspace: Workspace) -> str:
    """A descent resumes from its journal if these settings and inputs are the same; budgets and limits may change."""
    recovery = ("slim.recover_every", "slim.recover_steps", "slim.recover_lr")
    steps = ("slim.actions", "slim.objective", "slim.stride", "slim.lazy")
    scoring = ("slim.images", "slim.bn_images", "slim.metric")
    rounds = ROUND if workspace.settings.parent.has_rounds else ()
    inputs = file_digests(workspace, "table") | supernet_digests(workspace) | image_digests(workspace)
    inputs |= file_digests(workspace, "parent_weights") if rounds else {}  # which teaches
    settings = chosen(workspace.settings, *scoring, *steps, *recovery, *rounds, "seed")
    return digest([settings, inputs, __version__, TRACE_FORMAT])


class Descent:
    """The states of one descent: the start, then every step. Each is computed on demand and written to a journal.

    fingerprint: a journal with another one is discarded.
    versions: the weights that score the steps; they may be trained between them.
    start: by default the largest network of the space.
    journal: its file, by default that of the first descent of a run.
    round: the number of the descent.
    """

    def __init__(
        self,
        workspace: Workspace,
        table: LatencyTable,
        scorer: CachedScorer,
        fingerprint: str,
        versions: Versions,
        *,
        start: Subnet | None = None,
        journal: Path | None = None,
        round: int = 1,
    ) -> None:
        self._workspace, self._table, self._scorer, self._versions = workspace, table, scorer, versions
        self._start, self._round = start, round
        path = journal or workspace.run_dir.slim_steps
        self._journal: Journal[Any] = Journal(path, fingerprint, StepRecord, first=StateRecord)
        self._courses: dict[float | None, _Course] = {}

    @property
    def start_record(self) -> Record:
        if not self._journal.lines:
            subnet = self._start or Subnet.largest(self._workspace.space)
            self.use_weights_at(Place(0))
            state = State(subnet, self._table.predict(subnet.architecture), self._scorer(subnet))
            self._journal.add(self._described(state.to_record(), subnet))
        return self._journal.lines[0]

    @property
    def records(self) -> list[Record]:
        """Every step so far, in the order of their computation."""
        return self._journal.lines[1:]

    def predicted_interval_ms(self, latency_ms: float) -> tuple[float, float]:
        """95 % interval of the measured latency of a network that the table predicts at `latency_ms`."""
        return self._table.spread.interval_ms(latency_ms)

    def first_within(
        self, latency_ms: float, fits: Callable[[Architecture], bool], *, progress: ProgressUpdate
    ) -> tuple[Place, State]:
        """The first state that `fits` and takes at most `latency_ms`, and its place; step 0 is the start."""
        start = record = self.start_record
        course, step = self._course(None), 0
        while record["latency_ms"] > latency_ms or not fits(Architecture.from_json(record["architecture"])):
            if course.target_ms is None and self._ends_at(latency_ms, record["latency_ms"]):
                course = self._course(latency_ms, num_shared=step)
            step += 1
            if step == len(course.records):
                self._extend_towards(latency_ms, course)
            record = course.records[step]
            saved, wanted = (start["latency_ms"] - ms for ms in (record["latency_ms"], latency_ms))
            progress(round(1000 * min(saved, wanted)), round(1000 * wanted), f"microseconds saved, step {step}")
        return Place(step, course.target_ms, self._round), State.from_record(record)

    def steps_to(self, places: Sequence[Place]) -> tuple[list[Record], dict[Place, int]]:
        """The steps that lead to these places, numbered from 1, and the number of each place.

        First those of all targets, then those of each target, which say after which number they start (`after`).
        """
        shared = [place.step if place.target_ms is None else self._course_of(place).num_shared for place in places]
        steps = self._course(None).records[1 : 1 + max(shared)]
        numbers = {place: place.step for place in places}
        for target_ms in sorted({place.target_ms for place in places if place.target_ms is not None}, reverse=True):
            course = self._courses[target_ms]
            first, reached = course.num_shared + 1, [place for place in places if place.target_ms == target_ms]
            numbers |= {place: len(steps) + place.step - course.num_shared for place in reached}
            after = {"after": course.num_shared}
            for record in course.records[first : 1 + max(place.step for place in reached)]:
                steps.append({**record, "step": len(steps) + 1, **after})
                after = {}
        return steps, numbers

    def recovered_at(self, place: Place) -> str | None:
        """The name of the weights that score at this place; None: the supernet's."""
        num_shared = 0 if place.target_ms is None else self._course_of(place).num_shared
        return self._versions.name_at(place.step, place.target_ms, num_shared)

    def use_weights_at(self, place: Place) -> None:
        """Score with the weights that the descent had at this place."""
        self._versions.use(self.recovered_at(place))

    def _ends_at(self, target_ms: float, latency_ms: float) -> bool:
        """Whether a stride from `latency_ms` on depends on the target."""
        stride = self._workspace.settings.slim.stride
        return stride_ms(stride, latency_ms, target_ms) < stride_ms(stride, latency_ms, 0.0)

    def _course_of(self, place: Place) -> _Course:
        return self._courses[place.target_ms]

    def _course(self, target_ms: float | None, num_shared: int = 0) -> _Course:
        """The course of a target, or of all, with the steps that the journal has."""
        if target_ms not in self._courses:
            own = [line for line in self._journal.lines if line.get("target_ms") == target_ms]
            shared = [] if target_ms is None else self._course(None).records[: 1 + num_shared]
            records = [{name: value for name, value in line.items() if name != "target_ms"} for line in own]
            self._courses[target_ms] = _Course(target_ms, [*shared, *records], num_shared)
        return self._courses[target_ms]

    def _extend_towards(self, latency_ms: float, course: _Course) -> None:
        try:
            self._extend(course)
        except BudgetError as error:
            reached_ms = course.records[-1]["latency_ms"]
            if reached_ms > latency_ms:
                raise
            raise BudgetError(
                f"Slimming ended at {reached_ms:.3f} ms, within the budget, but over one of --limits. "
                "Raise that limit, or choose a search space with smaller networks."
            ) from error

    def _extend(self, course: _Course) -> None:
        number = len(course.records)
        course.ahead = course.ahead or self._steps(course)
        self.use_weights_at(Place(number - 1, course.target_ms))
        step = next(course.ahead)
        record = self._described(step.to_record(number), step.state.subnet)
        self._journal.add(record if course.target_ms is None else {**record, "target_ms": course.target_ms})
        course.records.append(record)

    def _steps(self, course: _Course) -> Iterator[Step]:
        """The steps after the last one of the course."""
        settings = self._workspace.settings.slim

        def least_saving(latency_ms: float) -> float:
            return stride_ms(settings.stride, latency_ms, course.target_ms or 0.0)

        def recovered(state: State) -> State:
            return self._versions.after(len(course.records), course.target_ms, state)

        return slim(
            State.from_record(course.records[-1]),
            self._importances,
            self._workspace.space,
            self._weighing(course),
            action_set=settings.actions,
            stride=save_at_least(least_saving, self._table.predict) if settings.stride else shortest,
            recovered=recovered,
        )

    @cached_property
    def _importances(self) -> Importances:
        """By the supernet as it was trained, whichever weights score the steps."""
        self._versions.use(None)
        return place_importances(self._workspace, self._scorer)

    def _weighing(self, course: _Course) -> Weigh:
        """The strategy of the settings, which cannot be lazy and parallel at once."""
        settings, latency, objective = self._workspace.settings.slim, self._table.predict, self.objective
        scorer = self._scorer
        if settings.lazy:
            known = scores_known(course.records)
            return weigh_lazily(latency, scorer.if_at_least, known, objective, scorer.ahead)
        if settings.workers == 1:
            return weigh_in_turn(latency, scorer.if_at_least, objective, scorer.ahead)
        if self._workspace.crew is None:
            return weigh_in_parallel(latency, scorer, self._executor, objective)
        return weigh_in_turn(latency, patient(scorer), objective, scorer.whole_ahead)

    @cached_property
    def objective(self) -> Objective:
        """What an action gains."""
        text = self._workspace.settings.slim.objective
        if text == "latency":
            return LATENCY
        return Objective.parse(text, costs_at(self._table.resolution, self._table.num_classes))

    @cached_property
    def _executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workspace.settings.slim.workers)

    def _described(self, record: Record, subnet: Subnet) -> Record:
        """The record with the primary score, which is of interest under either metric."""
        return {**record, self._workspace.task.words.primary: self._scorer.score(subnet).primary}


def num_evaluations(steps: Sequence[Record]) -> int:
    """Scores of networks that a descent of these steps needs, that of its start included."""
    weighed = [candidate for record in steps for candidate in record["candidates"]]
    return 1 + sum(candidate["accuracy"] is not None or candidate["below"] is not None for candidate in weighed)
