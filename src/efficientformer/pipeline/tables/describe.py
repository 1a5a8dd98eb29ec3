"""The content of a latency table as JSON values, for people and programs."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from efficientformer.arch.parts import stage_grids
from efficientformer.latency.tables.entries import families
from efficientformer.latency.tables.interpolation import knot_errors
from efficientformer.latency.tables.staircases import fast_widths, find_steps
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.tables.open import load_table, table_path


def describe_table(path: Path | str) -> dict[str, Any]:
    """Origin, errors and entries by stage of a table, given its file or a run directory."""
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
        **errors_record(table),
        "stages": stages_record(table),
        "history": [entry["what"] for entry in table.history],
    }


def errors_record(table: LatencyTable) -> dict[str, Any]:
    """Errors on held-out networks, the interval of a prediction in percent, and errors of interpolated parts."""
    knots = knot_errors(table.entries)
    return {
        "error": asdict(table.error),
        "interval_percent": table.spread.percent,
        "interpolation": {kind: {**asdict(errors), "percent": errors.percent} for kind, errors in knots.items()},
    }


def stages_record(table: LatencyTable) -> list[dict[str, Any]]:
    """Blocks by stage, kind, expansion and heads: the widths that were measured, their milliseconds, and the widths
    that no wider block beats."""
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
                        "expansion": parts[0].expansion or None,
                        "num_heads": parts[0].num_heads or None,
                        "widths": widths,
                        "latencies_ms": [members[part].latency_ms for part in parts],
                        "fast_widths": fast_widths(widths, steps, [family]),
                    }
                )
        stages.append({"stage": index + 1, "grid": list(grid), "blocks": blocks})
    return stages
