"""`table show`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efficientformer.arch.resolution import resolution_text
from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines, print_rows
from efficientformer.cli.table.printing import error_line, print_interpolation


def show(table: Path, *, json: JsonOption = False) -> None:
    """Show what a table holds: device, runtime, errors, blocks by stage.

    For example:

        efficientformer table show runs/laptop
        efficientformer table show table.json --json

    Parameters
    ----------
    table: Path
        A table.json, or a run directory with one.
    json: bool
        Print the summary as one JSON document.
    """
    from efficientformer.pipeline.tables.describe import describe_table

    record = describe_table(table)
    if json:
        print_json(record)
        return
    runtime = record["runtime"]
    print_lines(
        [
            f"{record['machine'].get('cpu')}, {record['machine'].get('cores')} cores, {record['machine'].get('os')}",
            f"{runtime.get('name')} {runtime.get('version')} on {runtime.get('compute_unit')}, "
            f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}, {record['clock']} clock",
            f"space {record['space']} at {resolution_text(record['resolution'])} px, {record['num_classes']} classes: "
            f"{record['num_entries']} entries, networks from {record['smallest_ms']:.3f} to "
            f"{record['largest_ms']:.3f} ms",
            f"made {record['time']} at load {record['load']}"
            + (f", then {', '.join(record['history'])}" if record["history"] else ""),
            error_line(record),
        ]
    )
    _print_stages(record["stages"])
    print_interpolation(record["interpolation"])


def _print_stages(stages: Sequence[dict[str, Any]]) -> None:
    rows = []
    for stage in stages:
        for block in stage["blocks"]:
            kind = block_title(block, stage["blocks"])
            for width, latency_ms in zip(block["widths"], block["latencies_ms"], strict=True):
                slow = "" if width in block["fast_widths"] else "no faster than a wider one"
                grid = "{}x{}".format(*stage["grid"])
                rows.append((f"stage {stage['stage']}, {grid}", kind, f"{width}", f"{latency_ms:.4f}", slow))
    print_rows(("blocks", "kind", "width", "ms", ""), rows)


def block_title(block: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]]) -> str:
    """The kind of a block, with what distinguishes it from others of its kind: `MB3D, expansion 4, 8 heads`."""
    alike = [other for other in blocks if other["kind"] == block["kind"]]
    words = [block["kind"]]
    if len({other["expansion"] for other in alike}) > 1:
        words.append(f"expansion {block['expansion']}")
    if len({other["num_heads"] for other in alike}) > 1:
        words.append(f"{block['num_heads']} head{'s' if block['num_heads'] > 1 else ''}")
    return ", ".join(words)
