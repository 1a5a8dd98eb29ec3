"""Lines and rows that several commands of `table` print."""

from typing import Any

from efficientformer.cli.printing import print_rows


def error_line(record: dict[str, Any]) -> str:
    """The errors of a table's predictions, from a record of `describe_table` or `check_table`."""
    error = record["error"]
    return (
        f"{error['num_networks']} unseen networks: mean error {error['mean_percent']:.1f} %, largest "
        f"{error['max_percent']:.1f} %, Kendall tau {error['kendall_tau']:.2f}; 95 % interval of a prediction "
        f"+-{record['interval_percent']:.1f} %"
    )


def print_interpolation(interpolation: dict[str, Any]) -> None:
    """Errors of parts that are interpolated from their neighbors, by kind."""
    rows = []
    for kind, errors in interpolation.items():
        percent = "below noise" if errors["percent"] is None else f"{errors['percent']:.1f} %"
        rows.append((kind, f"{errors['num_knots']}", percent, f"{errors['mean_ms']:.4f}", f"{errors['noise_ms']:.4f}"))
    print_rows(("interpolated from neighbors", "parts", "error", "mean ms", "noise ms"), rows)
