"""Verb `table`, and what can be done with finished tables: `table show`, `check`, `merge`, `diff`, `predict`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.cli.options import DeviceOption, JsonOption, RunOptions, SettingsOption, print_json
from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.devices import DeviceOptions
from efficientformer.pipeline.run.settings import Settings

OutOption = Annotated[Path, Parameter(name=("--out", "-o"))]


def table(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Measure a latency lookup table of the search space on this device, or look at tables with the commands below.

    Entries come from interleaved chain differences; whole random networks then check the table. Interrupted, it goes
    on where it stopped.

    For example:

        efficientformer table --space imagenet --resolution 224 --run-dir runs/laptop
        efficientformer table --runtime pytorch --threads 2 --json
        efficientformer table check runs/laptop --measure 8
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.table(settings, **options.place))


def show(table: Path, *, json: JsonOption = False) -> None:
    """Say what a table holds: device, runtime, error, blocks by stage.

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
    from efficientformer.pipeline.tables import describe_table

    record = describe_table(table)
    if json:
        print_json(record)
        return
    runtime = record["runtime"]
    _say(
        [
            f"{record['machine'].get('cpu')}, {record['machine'].get('cores')} cores, {record['machine'].get('os')}",
            f"{runtime.get('name')} {runtime.get('version')} on {runtime.get('compute_unit')}, "
            f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}, {record['clock']} clock",
            f"space {record['space']} at {record['resolution']} px, {record['num_classes']} classes: "
            f"{record['num_entries']} entries, networks from {record['smallest_ms']:.3f} to "
            f"{record['largest_ms']:.3f} ms",
            f"made {record['time']} at load {record['load']}"
            + (f", then {', '.join(record['history'])}" if record["history"] else ""),
            _error_words(record["error"], record["interval_percent"]),
        ]
    )
    _print_stages(record["stages"])
    _print_interpolation(record["interpolation"])


def check(
    table: Path,
    *,
    measure: int = 0,
    rounds: int = 24,
    max_error: float = 7.0,
    device: DeviceOption = DeviceOptions(),
    json: JsonOption = False,
) -> None:
    """Hold a table against this device: fingerprint, held-out error, interpolation, staircases, and fresh networks.

    Exit code 1 when it should not be used here.

    For example:

        efficientformer table check runs/laptop
        efficientformer table check runs/laptop --measure 8 --json

    Parameters
    ----------
    table: Path
        A table.json, or a run directory with one.
    measure: int
        So many networks that the table has not seen are measured now and compared with its predictions.
    rounds: int
        Interleaved timing rounds over these networks.
    max_error: float
        Largest mean error allowed, in percent.
    json: bool
        Print the findings as one JSON document.
    """
    from efficientformer.pipeline.run.console import RunConsole
    from efficientformer.pipeline.tables import check_table

    if measure < 0 or rounds < 2:
        raise UsageError("--measure counts networks, from 0 up, and --rounds is at least 2.")
    record = check_table(
        table, max_error=max_error, measure=measure, rounds=rounds, device=device, console=RunConsole()
    )
    if json:
        print_json(record)
    else:
        _print_check(record)
    if record["problems"]:
        raise LatencyError(
            f"{record['table']} should not be used here: {'; '.join(record['problems'])}. Measure a table on this "
            "device with 'efficientformer table', on a quieter machine or with more --table.rounds."
        )


def merge(tables: list[Path], *, out: OutOption, json: JsonOption = False) -> None:
    """Make one table of two or more of the same device, runtime and clock.

    What several have measured is weighed by its precision, at the speed between theirs. Calibration and error follow
    from the networks of all.

    For example:

        efficientformer table merge monday.json tuesday.json --out both.json

    Parameters
    ----------
    tables: list[Path]
        Two or more table.json files, or run directories with one.
    out: Path
        The table.json to write, or a run directory.
    json: bool
        Print the summary of the merged table as one JSON document.
    """
    from efficientformer.pipeline.tables import describe_table
    from efficientformer.pipeline.tables import merge as merge_files

    if len(tables) < 2:
        raise UsageError("There is nothing to merge: give two tables or more.")
    merged = merge_files(tables, out)
    if json:
        print_json(describe_table(out))
    else:
        error = {"mean_percent": merged.error.mean_percent, "max_percent": merged.error.max_percent}
        error |= {"kendall_tau": merged.error.kendall_tau, "num_networks": merged.error.num_networks}
        _say([f"{out}: {len(merged.entries)} entries", _error_words(error, merged.spread.percent)])


def diff(first: Path, second: Path, *, json: JsonOption = False) -> None:
    """Compare two tables: what a newer runtime, another device or another day makes of the same space.

    For example:

        efficientformer table diff before.json after.json
        efficientformer table diff runs/onnxruntime runs/openvino --json

    Parameters
    ----------
    first: Path
        A table.json, or a run directory with one.
    second: Path
        The other.
    json: bool
        Print the comparison, entry by entry, as one JSON document.
    """
    from efficientformer.pipeline.tables import diff as diff_files

    record = diff_files(first, second)
    if json:
        print_json(record)
        return
    low, high = record["spread"]
    beyond = [change for change in record["changes"] if change["is_beyond_noise"] and change["ratio"] is not None]
    _say(
        [
            *(f"differs: {setting}" for setting in record["settings"]),
            f"{second} takes {record['scale']:.3f} times as long as {first} (from {low:.3f} to {high:.3f}) over "
            f"{record['num_networks']} random networks; Kendall tau {record['kendall_tau']:.3f}",
            "by kind of part: " + ", ".join(f"{kind} {ratio:.3f}" for kind, ratio in record["kinds"].items()),
            f"{len(beyond)} of {len(record['changes'])} entries differ beyond noise; "
            f"{len(record['only_first'])} only in the first, {len(record['only_second'])} only in the second",
        ]
    )
    largest = sorted(beyond, key=lambda change: abs(change["second_ms"] - change["first_ms"]), reverse=True)[:10]
    _print_rows(
        ("entry", "first ms", "second ms", "ratio"),
        (
            (change["key"], f"{change['first_ms']:.4f}", f"{change['second_ms']:.4f}", f"{change['ratio']:.3f}")
            for change in largest
        ),
    )


def predict(
    table: Path,
    network: str,
    *,
    extend: Annotated[bool, Parameter(negative=())] = False,
    rounds: int = 24,
    device: DeviceOption = DeviceOptions(),
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    json: JsonOption = False,
) -> None:
    """Predict the latency of a network, with its 95 % interval; missing parts are timed on demand.

    For example:

        efficientformer table predict runs/laptop runs/photos/networks/8ms
        efficientformer table predict runs/laptop efficientformer_l1 --extend --out wider.json

    Parameters
    ----------
    table: Path
        A table.json, or a run directory with one.
    network: str
        efficientformer_l1, _l3 or _l7, or an architecture.json, or the folder of one.
    extend: bool
        Time the parts that the table lacks, on its own device, and keep them.
    rounds: int
        Interleaved timing rounds over these parts.
    out: Path
        Write the extended table here instead of over the table.
    json: bool
        Print the prediction as one JSON document.
    """
    from efficientformer.pipeline.run.console import RunConsole
    from efficientformer.pipeline.tables import predict as predict_network

    if rounds < 2:
        raise UsageError("--rounds is at least 2.")
    record = predict_network(table, network, extend=extend, rounds=rounds, device=device, out=out, console=RunConsole())
    if json:
        print_json(record)
        return
    low, high = record["interval_ms"]
    added = f"; {record['num_added']} entries were measured for it" if record["num_added"] else ""
    _say([f"{record['network']}: {record['latency_ms']:.3f} ms [{low:.3f}, {high:.3f}]{added}"])


COMMANDS = (show, check, merge, diff, predict)


def _say(lines: Iterable[str]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def _error_words(error: dict[str, Any], interval_percent: float) -> str:
    return (
        f"{error['num_networks']} unseen networks: mean error {error['mean_percent']:.1f} %, largest "
        f"{error['max_percent']:.1f} %, Kendall tau {error['kendall_tau']:.2f}; 95 % interval of a prediction "
        f"+-{interval_percent:.1f} %"
    )


def _print_check(record: dict[str, Any]) -> None:
    _say([_error_words(record["error"], record["interval_percent"])])
    _print_interpolation(record["interpolation"])
    _say(f"step: {step}" for step in record["steps"])
    if not record["steps"]:
        _say(["every narrower block is faster, as far as noise lets one tell"])
    unseen = record["unseen"]
    if unseen is None:
        return
    drifts = ", ".join(f"{drift:.3f}" for drift in unseen["drifts"])
    told, lines = ((unseen, "as measured"), (unseen["at_table_speed"], "at the speed of the table")), []
    for found, speed in told:
        error = found["error"]
        lines.append(
            f"{error['num_networks']} networks now, {speed}: mean error {error['mean_percent']:.1f} %, largest "
            f"{error['max_percent']:.1f} %, Kendall tau {error['kendall_tau']:.2f}; {found['covered_percent']:.0f} % "
            "within their 95 % intervals"
        )
    _say([*lines, f"networks that the table was made from take {drifts} times as long as it says"])


def _print_interpolation(interpolation: dict[str, Any]) -> None:
    rows = []
    for kind, errors in interpolation.items():
        percent = "below noise" if errors["percent"] is None else f"{errors['percent']:.1f} %"
        rows.append((kind, f"{errors['num_knots']}", percent, f"{errors['mean_ms']:.4f}", f"{errors['noise_ms']:.4f}"))
    _print_rows(("interpolated from neighbors", "widths", "error", "mean ms", "noise ms"), rows)


def _print_stages(stages: Sequence[dict[str, Any]]) -> None:
    rows = []
    for stage in stages:
        for block in stage["blocks"]:
            for width, latency_ms in zip(block["widths"], block["latencies_ms"], strict=True):
                slow = "" if width in block["fast_widths"] else "no faster than a wider one"
                grid = "{}x{}".format(*stage["grid"])
                rows.append((f"stage {stage['stage']}, {grid}", block["kind"], f"{width}", f"{latency_ms:.4f}", slow))
    _print_rows(("blocks", "kind", "width", "ms", ""), rows)


def _print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        shown.add_row(*row)
    if shown.row_count:
        console = Console(highlight=False, markup=False)
        console.print(shown, soft_wrap=not console.is_terminal)
