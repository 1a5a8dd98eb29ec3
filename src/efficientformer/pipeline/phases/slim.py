"""Phase `slim`: descend from the largest network until every budget is met (paper, section 4.2).

One descent serves all budgets: each takes the first network on the way whose latency fits. Before anything is trained
that network is measured; where the table was too hopeful, the descent goes on from the corrected scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from efficientformer.latency.table import LatencyTable
from efficientformer.pipeline.budget import Budget
from efficientformer.pipeline.corrections import read_corrections
from efficientformer.pipeline.measure import LARGEST, measure_beside_largest, prepare_untrained
from efficientformer.pipeline.oracles import accuracy_oracle, load_supernet, require_reachable
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.records import append_line, digest, read_lines, read_record, write_record, write_text
from efficientformer.search.accuracy import SupernetAccuracy
from efficientformer.search.slim import State, slim
from efficientformer.search.subnet import Subnet

MAX_CORRECTIONS = 4


def run(workspace: Workspace) -> None:
    run_dir = workspace.run_dir
    table = workspace.table()
    require_reachable(workspace, table)
    workspace.require(run_dir.supernet_weights, "supernet")
    search_inputs = workspace.digests(run_dir.table, run_dir.supernet_weights) | workspace.data_digest()
    stamp = Stamp(
        "slim",
        settings=workspace.chosen("budget", "slim"),
        inputs=search_inputs | {"the scale after verification": digest(read_corrections(workspace))},
    )

    def work(_: str) -> None:
        descent = Descent(workspace, table, digest([workspace.chosen("slim", "seed"), search_inputs]))
        _find(workspace, table, descent)

    workspace.run_phase(stamp, [run_dir.trace], work)
    for network in workspace.found_networks():
        workspace.console.say(
            f"{network.budget.text} = {network.budget_ms:.3f} ms: {network.architecture}, "
            f"predicted {network.predicted_ms:.3f} ms"
        )


class Descent:
    """The states of one descent, computed as they are asked for and kept on disk line by line."""

    def __init__(self, workspace: Workspace, table: LatencyTable, fingerprint: str) -> None:
        self._path = workspace.run_dir.slim_steps
        self._workspace, self._table = workspace, table
        self._oracle: SupernetAccuracy | None = None
        self._fingerprint = fingerprint
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

    def first_below(self, latency_ms: float, *, progress: Any) -> tuple[int, dict[str, Any]]:
        """(step, record) of the first state at or below a table latency; step 0 is the start."""
        start = self._start()
        if start["latency_ms"] <= latency_ms:
            return 0, start
        for index in count():
            if index == len(self.records):
                self._extend()
            record = self.records[index]
            taken = start["latency_ms"] - record["latency_ms"]
            progress(round(1000 * taken), round(1000 * (start["latency_ms"] - latency_ms)), f"step {index + 1}")
            if record["latency_ms"] <= latency_ms:
                return index + 1, record
        raise AssertionError("count() ends never")

    def _start(self) -> dict[str, Any]:
        if self.start_record is None:
            subnet = Subnet.largest(self._workspace.space)
            latency_ms = self._table.predict(subnet.architecture)
            self.start_record = {**subnet.to_json(), "latency_ms": latency_ms, "top1": self._accuracy(subnet)}
            self._rewrite()
        return self.start_record

    def _extend(self) -> None:
        if self._ahead is None:
            last = self.records[-1] if self.records else self._start()
            state = State(Subnet.from_json(last), last["latency_ms"], last["top1"])
            alphas = read_record(self._workspace.run_dir.supernet_record)["alphas"]
            steps = slim(state, alphas, self._workspace.space, latency=self._table.predict, accuracy=self._accuracy)
            self._ahead = (step.to_record(len(self.records) + 1) for step in steps)
        record = next(self._ahead)
        append_line(self._path, record)
        self.records.append(record)

    def _accuracy(self, subnet: Subnet) -> float:
        if self._oracle is None:
            self._oracle = accuracy_oracle(self._workspace, load_supernet(self._workspace))
        return self._oracle(subnet)

    def _rewrite(self) -> None:
        if self.start_record is None:
            write_text(self._path, "")
            return
        write_text(self._path, "")
        append_line(self._path, {"descent": self._fingerprint, "start": self.start_record})
        for record in self.records:
            append_line(self._path, record)


@dataclass
class _Aim:
    """One budget on its way to a network whose latency by the table is at most `target_ms`."""

    budget: Budget
    budget_ms: float
    target_ms: float
    step: int = 0
    record: dict[str, Any] | None = None
    confirmed: bool = False


def _find(workspace: Workspace, table: LatencyTable, descent: Descent) -> None:
    corrections = read_corrections(workspace)
    headroom = workspace.settings.slim.headroom
    aims = []
    for budget in workspace.budgets:
        budget_ms = budget.latency_ms(table.largest.measured_ms)
        aims.append(_Aim(budget, budget_ms, budget_ms * (1 - headroom) / corrections.get(budget.slug, 1.0)))
    made: list[dict[str, Any]] = []
    for _ in range(MAX_CORRECTIONS):
        waiting = [aim for aim in aims if not aim.confirmed]
        with workspace.console.progress("slimming") as progress:
            for aim in waiting:
                aim.step, aim.record = descent.first_below(aim.target_ms, progress=progress)
        made += _confirm(workspace, waiting)
        if all(aim.confirmed for aim in aims):
            break
    write_record(workspace.run_dir.trace, _trace_record(descent, aims, made))


def _confirm(workspace: Workspace, aims: list[_Aim]) -> list[dict[str, Any]]:
    """Measure the finalists, untrained; aim lower where one is too slow, by as much as it is, and say so."""
    networks = {}
    for aim in aims:
        assert aim.record is not None
        networks[aim.budget.slug] = prepare_untrained(workspace, Subnet.from_json(aim.record).architecture)
    measured = measure_beside_largest(workspace, networks)
    headroom = workspace.settings.slim.headroom
    made = []
    for aim in aims:
        assert aim.record is not None
        measured_ms = measured[aim.budget.slug].interval_ms[1]
        limit_ms = aim.budget.latency_ms(measured[LARGEST].p50_ms)
        aim.confirmed = measured_ms <= limit_ms * (1 - headroom / 2)
        if aim.confirmed:
            continue
        predicted_ms = aim.record["latency_ms"]
        aim.target_ms = predicted_ms * limit_ms * (1 - headroom) / measured_ms
        scale = measured_ms / predicted_ms
        made.append(
            {
                "budget": aim.budget.text,
                "step": aim.step,
                "measured_ms": measured_ms,
                "limit_ms": limit_ms,
                "predicted_ms": predicted_ms,
                "scale": scale,
            }
        )
        workspace.console.say(
            f"{aim.budget.text} allows {limit_ms:.3f} ms, measured up to {measured_ms:.3f} ms where the table says "
            f"{predicted_ms:.3f} ms; slimming goes on from the corrected scale {scale:.3f}"
        )
    return made


def _trace_record(descent: Descent, aims: list[_Aim], made: list[dict[str, Any]]) -> dict[str, Any]:
    budgets = []
    for aim in aims:
        assert aim.record is not None
        budgets.append(
            {
                "budget": aim.budget.text,
                "budget_value": {"text": aim.budget.text, "value": aim.budget.value, "unit": aim.budget.unit},
                "slug": aim.budget.slug,
                "budget_ms": aim.budget_ms,
                "target_ms": aim.target_ms,
                "step": aim.step,
                "predicted_ms": aim.record["latency_ms"],
                "top1": aim.record["top1"],
                "architecture": aim.record["architecture"],
                "origins": aim.record["origins"],
            }
        )
    last_step = max(aim.step for aim in aims)
    return {
        "start": descent.start_record,
        "steps": descent.records[:last_step],
        "budgets": budgets,
        "corrections": made,
        "num_evaluations": descent.num_evaluations,
        "provenance": provenance(),
    }
