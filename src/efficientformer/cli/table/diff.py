"""`table diff`."""

from pathlib import Path

from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines, print_rows

MOST_ROWS = 10


def diff(first: Path, second: Path, *, json: JsonOption = False) -> None:
    """Compare two tables of one space, such as of two runtimes, two devices or two days.

    For example:

        efficientformer table diff before.json after.json
        efficientformer table diff runs/onnxruntime runs/openvino --json

    Parameters
    ----------
    first: Path
        A table.json, or a run directory with one.
    second: Path
        The other table.
    json: bool
        Print the comparison, entry by entry, as one JSON document.
    """
    from efficientformer.pipeline.tables.combine import diff as diff_files

    record = diff_files(first, second)
    if json:
        print_json(record)
        return
    low, high = record["spread"]
    beyond = [change for change in record["changes"] if change["is_beyond_noise"] and change["ratio"] is not None]
    print_lines(
        [
            *(f"differs: {setting}" for setting in record["settings"]),
            f"{second} takes {record['scale']:.3f} times as long as {first} (from {low:.3f} to {high:.3f}) over "
            f"{record['num_networks']} random networks; Kendall tau {record['kendall_tau']:.3f}",
            "by kind of part: " + ", ".join(f"{kind} {ratio:.3f}" for kind, ratio in record["kinds"].items()),
            f"{len(beyond)} of {len(record['changes'])} entries differ beyond noise; "
            f"{len(record['only_first'])} only in the first, {len(record['only_second'])} only in the second",
        ]
    )
    largest = sorted(beyond, key=lambda change: abs(change["second_ms"] - change["first_ms"]), reverse=True)
    print_rows(
        ("entry", "first ms", "second ms", "ratio"),
        (
            (change["key"], f"{change['first_ms']:.4f}", f"{change['second_ms']:.4f}", f"{change['ratio']:.3f}")
            for change in largest[:MOST_ROWS]
        ),
    )
