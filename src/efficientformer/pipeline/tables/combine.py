"""Merge tables of one device, or compare two tables."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from efficientformer.errors import UsageError
from efficientformer.latency.tables.compare import diff_tables, merge_tables
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.paths import usable_path
from efficientformer.pipeline.tables.open import load_table, save_table
from efficientformer.run_dir import RunDir


def merge(paths: Sequence[Path | str], out: Path | str) -> LatencyTable:
    """Merge two or more tables of the same device, runtime and clock; writes the result and returns it.

    paths: files of tables, or run directories.
    out: the file to write, or a run directory, which gets a table.json.

    Raises UsageError for fewer than two tables, LatencyError for tables that do not belong together.
    """
    if len(paths) < 2:
        raise UsageError("There is nothing to merge: give two tables or more.")
    merged, *others = map(load_table, paths)
    for other in others:
        merged = merge_tables(merged, other)
    out = usable_path(out, "--out")
    save_table(merged, out if out.suffix == ".json" else RunDir(out).table)
    return merged


def diff(first: Path | str, second: Path | str) -> dict[str, Any]:
    """Differences of two tables of one search space: settings, scale, order of networks, and every entry."""
    differences = diff_tables(load_table(first), load_table(second))
    return {
        **asdict(differences),
        "changes": [{**asdict(change), "ratio": change.ratio} for change in differences.changes],
    }
