"""What can be done with finished latency tables: describe, check, merge, compare, ask."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficientformer.arch.parts import stage_grids
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.latency.devices import DeviceOptions, open_device
from efficientformer.latency.tables.compare import diff_tables, merge_tables
from efficientformer.latency.tables.entries import families
from efficientformer.latency.tables.error import summarize_error
from efficientformer.latency.tables.interpolation import knot_errors
from efficientformer.latency.tables.staircases import fast_widths, find_steps
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.records import read_record
from efficientformer.run_dir import RunDir

if TYPE_CHECKING:
    from efficientformer.latency.runtime import Runtime
    from efficientformer.latency.tables.unseen import UnseenNetwork

CHECK_SEED = 4321
MAX_DRIFT = 0.1
"""How much faster or slower than on the day of the table the machine may be."""


def table_path(path: Path) -> Path:
    """The table's file, given that or a run directory. Raises UsageError when there is none."""
    file = RunDir(path).table if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            f"{file} does not exist. Give a table.json or a run directory with one; 'efficientformer table --run-dir "
            f"{path if path.suffix != '.json' else path.parent}' makes it."
        )
    return file


def load_table(path: Path) -> LatencyTable:
    return LatencyTable.load(table_path(path))


def describe_table(path: Path) -> dict[str, Any]:
    """What a table says of itself: where it comes from, how good it is, its entries by stage."""
    table = load_table(path)
    return {
        "table": str(table_path(path)),
        "machine": table.provenance["machine"],
        "runtime": table.runtime,
        "threads": table.threads,
        "clock": table.clock,
        "space": table.space.name,
        "resolution": table.resolution,
        "num_classes": table.num_classes,
        "time": table.provenance.get("time"),
        "load": table.provenance.get("load"),
        "num_entries": len(table.entries),
        "largest_ms": table.largest.measured_ms,
        "smallest_ms": table.smallest.measured_ms,
        "error": asdict(table.error),
        "interval_percent": table.spread.percent,
        "interpolation": _interpolation(table),
        "stages": _stages(table),
        "history": [entry["what"] for entry in table.history],
    }


def check_table(
    path: Path, *, max_error: float, measure: int, rounds: int, device: DeviceOptions, console: RunConsole
) -> dict[str, Any]:
    """Hold a table against this device, its own error and, where `measure` > 0, so many networks measured here.

    `problems` of the record says in sentences what is wrong; none for a table that can be used here.
    """
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
        unseen, found = _measure_again(table, runtime, measure, rounds, max_error, console)
        problems += found
    return {
        "table": str(table_path(path)),
        "problems": problems,
        "error": asdict(table.error),
        "interval_percent": table.spread.percent,
        "interpolation": _interpolation(table),
        "steps": [str(step) for step in find_steps(table.entries)],
        "stages": _stages(table),
        "unseen": unseen,
    }


def merge(paths: Sequence[Path], out: Path) -> LatencyTable:
    """Write the table that two or more make together; a run directory gets its table.json."""
    merged, *others = map(load_table, paths)
    for other in others:
        merged = merge_tables(merged, other)
    merged.save(out if out.suffix == ".json" else RunDir(out).table)
    return merged


def diff(first: Path, second: Path) -> dict[str, Any]:
    found = diff_tables(load_table(first), load_table(second))
    return {
        **asdict(found),
        "changes": [{**asdict(change), "ratio": change.ratio} for change in found.changes],
    }


def predict(
    path: Path, network: str, *, extend: bool, rounds: int, device: DeviceOptions, out: Path | None, console: RunConsole
) -> dict[str, Any]:
    """Latency and interval of a network, a name or the path of an architecture's JSON file.

    With `extend`, parts that the table lacks are timed and kept in the table, or in `out`. Raises LatencyError where
    parts are missing otherwise.
    """
    table, architecture = load_table(path), find_architecture(network)
    added = 0
    if extend and table.missing_parts(architecture):
        from efficientformer.latency.tables.extend import extend_table

        with console.progress("measuring") as progress:
            runtime = open_table_device(table, device)
            extended = extend_table(table, [architecture], runtime, rounds=rounds, progress=progress)
        added = len(extended.entries) - len(table.entries)
        table = extended
        table.save(out or table_path(path))
    latency_ms = table.predict(architecture)
    return {
        "network": str(architecture),
        "latency_ms": latency_ms,
        "interval_ms": list(table.spread.interval_ms(latency_ms)),
        "num_added": added,
    }


def find_architecture(network: str) -> Architecture:
    """By name of a published network, or from a JSON file, such as `architecture.json` of a run."""
    if network in ZOO:
        return ZOO[network]
    path = Path(network)
    if path.is_dir():
        path /= "architecture.json"
    if not path.is_file():
        raise UsageError(f"{network} is neither {', '.join(ZOO)} nor the file of an architecture.")
    content = read_record(path)
    return Architecture.from_json(content.get("architecture", content) if isinstance(content, dict) else content)


def open_table_device(table: LatencyTable, device: DeviceOptions) -> "Runtime":
    """The table's own runtime and number of threads, on the device."""
    return open_device(device, str(table.runtime["name"]), table.threads)


def _interpolation(table: LatencyTable) -> dict[str, Any]:
    return {kind: {**asdict(errors), "percent": errors.percent} for kind, errors in knot_errors(table.entries).items()}


def _stages(table: LatencyTable) -> list[dict[str, Any]]:
    """Blocks by stage: widths measured, those worth having, and milliseconds of each."""
    known, steps, stages = families(table.entries), find_steps(table.entries), []
    for index, grid in enumerate(stage_grids(table.space.stem_strides, table.resolution)):
        blocks = []
        for family, members in known.items():
            parts = sorted(members, key=lambda part: part.width)
            if parts[0].block is not None and parts[0].grid == grid:
                widths = [part.width for part in parts]
                blocks.append(
                    {
                        "family": family,
                        "kind": parts[0].kind,
                        "widths": widths,
                        "latencies_ms": [members[part].latency_ms for part in parts],
                        "fast_widths": fast_widths(widths, steps, [family]),
                    }
                )
        stages.append({"stage": index + 1, "grid": list(grid), "blocks": blocks})
    return stages


def _measure_again(
    table: LatencyTable, runtime: "Runtime", count: int, rounds: int, max_error: float, console: RunConsole
) -> tuple[dict[str, Any], list[str]]:
    from efficientformer.latency.tables.unseen import draw_unseen, measure_unseen

    with console.progress("measuring") as progress:
        drawn = draw_unseen(table, count, CHECK_SEED)
        unseen = measure_unseen(table, drawn, runtime, rounds=rounds, seed=CHECK_SEED, progress=progress)
    record = unseen_record(unseen)
    problems = []
    mean_percent = record["at_table_speed"]["error"]["mean_percent"]
    if mean_percent > max_error:
        problems.append(
            f"it misses {len(unseen)} networks measured now by {mean_percent:.1f} % on average, more than "
            f"{max_error:g} %"
        )
    (drift,) = {net.drift for net in unseen if net.chunk == 0}
    if abs(drift - 1) > MAX_DRIFT:
        problems.append(f"the networks that it was made from now take {drift:.2f} times as long as it says")
    return record, problems


def unseen_record(unseen: Sequence["UnseenNetwork"]) -> dict[str, Any]:
    """Networks measured and predicted: as measured, and with the machine brought back to the speed of the table."""
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
