"""Verb `shortlist`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from efficientformer.cli.options import JsonOption, OutOption
from efficientformer.cli.printing import print_json, print_lines, print_rows
from efficientformer.pipeline.shortlists.settings import OUT, ShortlistSettings

if TYPE_CHECKING:
    from efficientformer.formats.shortlist import ShortlistRecord, ShortlistRow

SettingsOption = Annotated[ShortlistSettings, Parameter(name="*", negative_iterable=())]
COLUMNS = ("network", "ms [95 %]", "px", "top-1", "params", "licence", "timm name")


def shortlist(
    *,
    settings: SettingsOption = ShortlistSettings(),
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
    out: OutOption = OUT,
    json: JsonOption = False,
) -> None:
    """Measure about 50 published networks on this device: the front, and the best network within each budget.

    Networks have random weights, on which latency does not depend; top-1 is what timm measured with published weights.
    All run in the same randomly interleaved rounds. It takes a few minutes; after an interruption the same command
    resumes. Later runs of design on this device show the best published network that fits.

    For example:

        efficientformer shortlist --budget 8ms
        efficientformer shortlist --budget 8ms --budget 20ms --runtime openvino --threads 2 --all
        efficientformer shortlist --resolution 128 --out runs/small --json

    Parameters
    ----------
    everything: bool
        Print the networks off the front as well.
    out: Path
        Folder of shortlist.json and the exported networks.
    json: bool
        Print the record as one JSON document.
    """
    from efficientformer.pipeline.shortlists.measure import RECORD_NAME
    from efficientformer.pipeline.shortlists.measure import shortlist as measure_shortlist

    record = measure_shortlist(settings, out=out)
    if json:
        print_json(record)
        return
    _print_front(record, everything=everything)
    print_lines([*_budget_lines(record), *_notes(record), f"Record: {out / RECORD_NAME}"])


def _print_front(record: "ShortlistRecord", *, everything: bool) -> None:
    rows = sorted(record["networks"], key=lambda row: row["p50_ms"] or float("inf"))
    on_front = [row for row in rows if row["name"] in record["front"]]
    print_lines(
        [f"Front: {len(on_front)} networks of {len(rows)} that no other one beats in both latency and accuracy"]
    )
    print_rows(COLUMNS, map(_cells, on_front), wide=True)
    others = [row for row in rows if row["name"] not in record["front"]]
    if everything and others:
        print_lines(["", "Off the front"])
        print_rows(COLUMNS, map(_cells, others), wide=True)


def _cells(row: "ShortlistRow") -> list[str]:
    from efficientformer.arch.resolution import resolution_text
    from efficientformer.report.wording import ms

    latency = "failed" if row["p50_ms"] is None else "{} [{}, {}]".format(*map(ms, _latency(row)))
    px = resolution_text(row["resolution"] or row["top1_resolution"])
    published_at = "" if px == str(row["top1_resolution"]) else f" at {row['top1_resolution']} px"
    return [
        row["title"],
        f"{latency}{' WRONG OUTPUT' if row['problem'] and row['p50_ms'] is not None else ''}",
        px,
        f"{row['top1']:.1f}%{'*' if row['more_data'] else ''}{published_at}",
        "-" if row["num_params"] is None else f"{row['num_params'] / 1e6:.1f}M",
        row["license"],
        row["name"],
    ]


def _latency(row: "ShortlistRow") -> Sequence[float | None]:
    return [row["p50_ms"], *(row["interval_ms"] or [])]


def _budget_lines(record: "ShortlistRecord") -> Iterator[str]:
    from efficientformer.report.published import network_words

    rows = {row["name"]: row for row in record["networks"]}
    for budget in record["budgets"]:
        if budget["best"] is None:
            fastest = rows[record["front"][0]] if record["front"] else None
            beyond = f"; the fastest is {network_words(fastest)}" if fastest else ""
            yield f"{budget['budget']}: no network fits{beyond}"
        else:
            yield f"{budget['budget']}: {network_words(rows[budget['best']])}"


def _notes(record: "ShortlistRecord") -> Iterator[str]:
    shown = {row["more_data"] for row in record["networks"] if row["more_data"]}
    yield from (f"* trained on more than ImageNet-1k: {text}" for text in sorted(shown))
