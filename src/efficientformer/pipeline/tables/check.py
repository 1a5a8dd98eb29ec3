"""Whether a latency table can be used on this device: its origin, its errors, and networks that are measured now."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.devices import DeviceOptions
from efficientformer.latency.tables.error import summarize_error
from efficientformer.latency.tables.staircases import find_steps
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.tables.describe import errors_record, stages_record
from efficientformer.pipeline.tables.open import MIN_ROUNDS, load_table, open_table_device, table_path

if TYPE_CHECKING:
    from efficientformer.latency.runtime import Runtime
    from efficientformer.latency.tables.unseen import UnseenNetwork

CHECK_SEED = 4321
MAX_DRIFT = 0.1
"""Largest change of the machine's speed since the table was made, as a fraction."""


class UnusableTableError(LatencyError):
    """A table that should not be used on this device; `record` is what `check_table` would have returned."""

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__(
            f"{record['table']} should not be used here: {'; '.join(record['problems'])}. Measure a table on this "
            "device with 'efficientformer table', on a quieter machine or with more --table.rounds."
        )
        self.record = record


def check_table(
    path: Path | str,
    *,
    measure: int = 0,
    rounds: int = 24,
    max_error: float = 7.0,
    device: DeviceOptions = DeviceOptions(),
) -> dict[str, Any]:
    """Compare a table with this device, its errors with `max_error`, and its predictions with new measurements.

    path: a table.json, or a run directory with one.
    measure: networks to measure now that the table has not seen.
    rounds: interleaved timing rounds over these networks.
    max_error: largest mean error allowed, in percent.

    Raises UnusableTableError with the same record for a table with `problems`, UsageError for a request that cannot be
    carried out.
    """
    if measure < 0 or rounds < MIN_ROUNDS:
        raise UsageError(f"--measure counts networks, from 0 up, and --rounds is at least {MIN_ROUNDS}.")
    table, problems = load_table(path), []
    runtime = open_table_device(table, device)
    if differences := table.differences(runtime.machine(), runtime.describe()):
        problems.append(f"it was measured elsewhere: {'; '.join(differences)}")
    if table.error.mean_percent > max_error:
        problems.append(
            f"it misses held-out networks by {table.error.mean_percent:.1f} % on average, more than {max_error:g} %"
        )
    unseen = None
    if measure:
        networks = _measure_unseen(table, runtime, measure, rounds)
        unseen = unseen_record(networks)
        problems += _problems_now(networks, unseen["at_table_speed"]["error"]["mean_percent"], max_error)
    record = {
        "table": str(table_path(path)),
        "problems": problems,
        **errors_record(table),
        "steps": [str(step) for step in find_steps(table.entries)],
        "stages": stages_record(table),
        "unseen": unseen,
    }
    if problems:
        raise UnusableTableError(record)
    return record


def _measure_unseen(table: LatencyTable, runtime: "Runtime", count: int, rounds: int) -> Sequence["UnseenNetwork"]:
    from efficientformer.latency.tables.unseen import draw_unseen, measure_unseen

    drawn = draw_unseen(table, count, CHECK_SEED)
    if not drawn:
        raise UsageError("The table was made from every network of its space: none is left for --measure.")
    with RunConsole().progress("measuring") as progress:
        return measure_unseen(table, drawn, runtime, rounds=rounds, seed=CHECK_SEED, progress=progress)


def _problems_now(networks: Sequence["UnseenNetwork"], mean_percent: float, max_error: float) -> list[str]:
    problems = []
    if mean_percent > max_error:
        problems.append(
            f"it misses {len(networks)} networks measured now by {mean_percent:.1f} % on average, more than "
            f"{max_error:g} %"
        )
    (drift,) = {net.drift for net in networks if net.chunk == 0}
    if abs(drift - 1) > MAX_DRIFT:
        problems.append(f"the networks that it was made from now take {drift:.2f} times as long as recorded")
    return problems


def unseen_record(unseen: Sequence["UnseenNetwork"]) -> dict[str, Any]:
    """Errors of predictions: as measured, and corrected for changes of the machine's speed since the table was made."""
    return {
        **_error_record(unseen),
        "at_table_speed": _error_record([net.at_table_speed for net in unseen]),
        "drifts": [drift for _, drift in sorted({(net.chunk, net.drift) for net in unseen})],
        "networks": [
            {**asdict(net), "architecture": net.architecture.to_json(), "error_percent": net.error_percent}
            for net in unseen
        ],
    }


def _error_record(unseen: Sequence["UnseenNetwork"]) -> dict[str, Any]:
    percent = [net.error_percent for net in unseen]
    return {
        "error": asdict(summarize_error([net.measured_ms for net in unseen], [net.predicted_ms for net in unseen])),
        "bias_percent": sum(percent) / len(percent),
        "within_5_percent": 100 * sum(abs(error) <= 5 for error in percent) / len(percent),
        "within_10_percent": 100 * sum(abs(error) <= 10 for error in percent) / len(percent),
        "covered_percent": 100 * sum(net.is_covered for net in unseen) / len(unseen),
    }
