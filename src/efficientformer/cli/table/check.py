"""`table check`."""

from pathlib import Path
from typing import Any

from efficientformer.cli.options import DeviceOption, JsonOption
from efficientformer.cli.printing import print_json, print_lines
from efficientformer.cli.table.printing import error_line, print_interpolation
from efficientformer.latency.devices import DeviceOptions


def check(
    table: Path,
    *,
    measure: int = 0,
    rounds: int = 24,
    max_error: float = 7.0,
    device: DeviceOption = DeviceOptions(),
    json: JsonOption = False,
) -> None:
    """Check whether a table can be used on this device: fingerprint, errors, interpolation, and new measurements.

    Exit code 1 if it should not be used here.

    For example:

        efficientformer table check runs/laptop
        efficientformer table check runs/laptop --measure 8 --json

    Parameters
    ----------
    table: Path
        A table.json, or a run directory with one.
    measure: int
        Networks to measure now and compare with the table's predictions. The table has not seen them.
    rounds: int
        Interleaved timing rounds over these networks.
    max_error: float
        Largest mean error allowed, in percent.
    json: bool
        Print the findings as one JSON document.
    """
    from efficientformer.pipeline.tables.check import UnusableTableError, check_table

    try:
        record = check_table(table, measure=measure, rounds=rounds, max_error=max_error, device=device)
    except UnusableTableError as unusable:
        _show(unusable.record, json=json)
        raise
    _show(record, json=json)


def _show(record: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(record)
        return
    print_lines([error_line(record)])
    print_interpolation(record["interpolation"])
    print_lines(f"step: {step}" for step in record["steps"])
    if not record["steps"]:
        print_lines(["every narrower block is faster, within noise"])
    if record["unseen"] is not None:
        _print_unseen(record["unseen"])


def _print_unseen(unseen: dict[str, Any]) -> None:
    for errors, speed in ((unseen, "as measured"), (unseen["at_table_speed"], "at the speed of the table")):
        error = errors["error"]
        print_lines(
            [
                f"{error['num_networks']} networks now, {speed}: mean error {error['mean_percent']:.1f} %, largest "
                f"{error['max_percent']:.1f} %, Kendall tau {error['kendall_tau']:.2f}; "
                f"{errors['covered_percent']:.0f} % within their 95 % intervals"
            ]
        )
    drifts = ", ".join(f"{drift:.3f}" for drift in unseen["drifts"])
    print_lines([f"networks that the table was made from take {drifts} times as long as recorded"])
