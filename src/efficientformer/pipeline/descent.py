"""One descent from the largest network, kept on disk: further budgets and later runs go on from it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from efficientformer.latency.table import LatencyTable
from efficientformer.pipeline.console import ProgressUpdate
from efficientformer.pipeline.workspace import Workspace
from efficientformer.records import append_line, read_lines, read_record, write_text
from efficientformer.search.slim import AccuracyOracle, State, slim
from efficientformer.search.subnet import Subnet


class Descent:
    """The states of one descent, computed as they are asked for and written line by line.

    A file left by another descent, by `fingerprint`, is not taken up.
    """

    def __init__(self, workspace: Workspace, table: LatencyTable, accuracy: AccuracyOracle, fingerprint: str) -> None:
        self._path = workspace.run_dir.slim_steps
        self._workspace, self._table, self._accuracy = workspace, table, accuracy
        self._fingerprint = fingerprint
        workers = workspace.settings.slim.workers
        self._executor = ThreadPoolExecutor(workers) if workers > 1 else None
        lines = read_lines(self._path)
        if lines and lines[0].get("descent") == fingerprint:
            self.start_record, self.records = lines[0]["start"], lines[1:]
        else:
            self.start_record, self.records = None, []
        self._rewrite()
        self._ahead: Iterator[dict[str, Any]] | None = None

    @property
    def num_evaluations(self) -> int:
        weighed = [candidate for record in self.records for candidate in record["candidates"]]
        return 1 + sum(candidate["top1"] is not None for candidate in weighed)

    def predicted_interval_ms(self, latency_ms: float) -> tuple[float, float]:
        """95 % interval of what a network of this table latency is going to be measured at."""
        return self._table.spread.interval_ms(latency_ms)

    def first_below(self, latency_ms: float, *, progress: ProgressUpdate) -> tuple[int, State]:
        """(step, state) of the first state at or below a table latency; step 0 is the start."""
        start = record = self._start()
        step = 0
        while record["latency_ms"] > latency_ms:
            if step == len(self.records):
                self._extend()
            record = self.records[step]
            step += 1
            taken, wanted = (start["latency_ms"] - ms for ms in (record["latency_ms"], latency_ms))
            progress(round(1000 * min(taken, wanted)), round(1000 * wanted), f"microseconds taken, step {step}")
        return step, State.from_record(record)

    def _start(self) -> dict[str, Any]:
        if self.start_record is None:
            subnet = Subnet.largest(self._workspace.space)
            latency_ms = self._table.predict(subnet.architecture)
            self.start_record = State(subnet, latency_ms, self._accuracy(subnet)).to_record()
            self._rewrite()
        return self.start_record

    def _extend(self) -> None:
        if self._ahead is None:
            state = State.from_record(self.records[-1] if self.records else self._start())
            alphas = read_record(self._workspace.run_dir.supernet_record)["alphas"]
            steps = slim(
                state,
                alphas,
                self._workspace.space,
                latency=self._table.predict,
                accuracy=self._accuracy,
                executor=self._executor,
            )
            self._ahead = (step.to_record(len(self.records) + 1) for step in steps)
        record = next(self._ahead)
        append_line(self._path, record)
        self.records.append(record)

    def _rewrite(self) -> None:
        lines = []
        if self.start_record is not None:
            lines = [{"descent": self._fingerprint, "start": self.start_record}, *self.records]
        write_text(self._path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
