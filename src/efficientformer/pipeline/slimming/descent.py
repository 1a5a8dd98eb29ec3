"""One descent from the largest network, kept on disk: further budgets and later runs continue it."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from efficientformer.arch.spec import Architecture
from efficientformer.errors import BudgetError
from efficientformer.formats.slimming import StateRecord, StepRecord, SupernetRecord
from efficientformer.journal import Journal
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.console import ProgressUpdate
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.recovery import Recovery
from efficientformer.reading import read_record
from efficientformer.search.candidates import State
from efficientformer.search.slim import Step, save_at_least, shortest, slim, stride_ms
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import Weigh, scores_known, weigh_in_parallel, weigh_in_turn, weigh_lazily


class Descent:
    """The states of one descent: the start, then every step. Each is computed on demand and written to a journal.

    A journal with another `fingerprint` is discarded.
    """

    def __init__(self, workspace: Workspace, table: LatencyTable, scorer: CachedScorer, fingerprint: str) -> None:
        self._workspace, self._table, self._scorer = workspace, table, scorer
        self._journal = Journal(workspace.run_dir.slim_steps, fingerprint, StepRecord, first=StateRecord)
        recovers = workspace.settings.slim.recover_every > 0
        self._recovery = Recovery(workspace, scorer, fingerprint) if recovers else None
        self._ahead: Iterator[Step] | None = None
        self._target_ms = math.inf

    @property
    def start_record(self) -> StateRecord:
        if not self._journal.lines:
            subnet = Subnet.largest(self._workspace.space)
            state = State(subnet, self._table.predict(subnet.architecture), self._scorer(subnet))
            self._journal.add(self._described(state.to_record(), subnet))
        return self._journal.lines[0]

    @property
    def records(self) -> list[StepRecord]:
        """Every step so far."""
        return self._journal.lines[1:]

    @property
    def num_evaluations(self) -> int:
        weighed = [candidate for record in self.records for candidate in record["candidates"]]
        return 1 + sum(candidate["accuracy"] is not None or candidate["below"] is not None for candidate in weighed)

    def predicted_interval_ms(self, latency_ms: float) -> tuple[float, float]:
        """95 % interval of the measured latency of a network that the table predicts at `latency_ms`."""
        return self._table.spread.interval_ms(latency_ms)

    def first_within(
        self, latency_ms: float, fits: Callable[[Architecture], bool], *, progress: ProgressUpdate
    ) -> tuple[int, State]:
        """(step, state) of the first state that `fits` and takes at most `latency_ms`; step 0 is the start."""
        start = record = self.start_record
        step, self._target_ms = 0, latency_ms
        while record["latency_ms"] > latency_ms or not fits(Architecture.from_json(record["architecture"])):
            if step == len(self.records):
                self._extend_towards(latency_ms, record)
            record = self.records[step]
            step += 1
            saved, wanted = (start["latency_ms"] - ms for ms in (record["latency_ms"], latency_ms))
            progress(round(1000 * min(saved, wanted)), round(1000 * wanted), f"microseconds saved, step {step}")
        return step, State.from_record(record)

    def _extend_towards(self, latency_ms: float, record: StateRecord) -> None:
        try:
            self._extend()
        except BudgetError as error:
            if record["latency_ms"] > latency_ms:
                raise
            raise BudgetError(
                f"Slimming ended at {record['latency_ms']:.3f} ms, within the budget, but over one of --limits. "
                "Raise that limit, or choose a search space with smaller networks."
            ) from error

    def _extend(self) -> None:
        if self._ahead is None:
            self._ahead = self._steps()
        step = next(self._ahead)
        self._journal.add(self._described(step.to_record(len(self.records) + 1), step.state.subnet))

    def _steps(self) -> Iterator[Step]:
        """The steps after the last one in the journal."""
        settings = self._workspace.settings.slim
        if self._recovery is not None:
            self._recovery.resume(len(self.records))
        return slim(
            State.from_record(self._journal.lines[-1]),
            read_record(self._workspace.run_dir.supernet_record, SupernetRecord)["alphas"],
            self._workspace.space,
            self._weighing(),
            action_set=settings.actions,
            stride=save_at_least(self._least_saving, self._table.predict) if settings.stride else shortest,
            recovered=self._recovered,
        )

    def _weighing(self) -> Weigh:
        """The strategy of the settings, which cannot be lazy and parallel at once."""
        settings, latency = self._workspace.settings.slim, self._table.predict
        if settings.lazy:
            return weigh_lazily(latency, self._scorer.if_at_least, scores_known(self._journal.lines))
        if settings.workers > 1:
            return weigh_in_parallel(latency, self._scorer, ThreadPoolExecutor(settings.workers))
        return weigh_in_turn(latency, self._scorer.if_at_least)

    def _least_saving(self, latency_ms: float) -> float:
        return stride_ms(self._workspace.settings.slim.stride, latency_ms, self._target_ms)

    def _described(self, record: dict[str, Any], subnet: Subnet) -> dict[str, Any]:
        """The record with top-1, which is of interest under either metric."""
        return {**record, "top1": self._scorer.score(subnet).top1}

    def _recovered(self, state: State) -> State:
        return state if self._recovery is None else self._recovery.after(len(self.records) + 1, state)
