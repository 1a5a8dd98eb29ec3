"""Findings of a benchmark as sentences that follow from its record alone. No torch."""

from collections.abc import Iterator, Sequence
from typing import Any

from efficientformer.report import wording
from efficientformer.report.wording import runtime_title

PAPER_ROUNDING_MS = 0.05
"""Rounding of the paper's latencies, which have one decimal."""
NEAR_MACS = 0.15
"""Largest relative difference between a latency ratio and a ratio of MACs that counts as equal."""

Row = dict[str, Any]


def findings(record: Row) -> list[str]:
    """Sentences: the paper's comparisons, Pareto fronts, networks that beat ours, agreement of runtimes, MACs."""
    return [
        *(sentence for pair in record["comparisons"] if (sentence := _comparison(record, pair))),
        *_fronts(record),
        *_beaten(record),
        *(_agreement(row) for row in record["agreements"]),
        *(sentence for name in _names(record) if (sentence := _cost_of_macs(record, name))),
    ]


def headline(record: Row) -> str:
    """The first of the paper's comparisons, in short, or the fastest network."""
    for pair in record["comparisons"]:
        if measured := [row for row in pair["results"] if row["ratio"] is not None]:
            subject, baseline = (model(record, pair[side])["title"] for side in ("network", "baseline"))
            times = [f"{row['ratio']:.2f} times" for row in measured]
            times[0] += f" as long as {baseline}"
            ratios = [f"{text} with {runtime_title(row['runtime'])}" for text, row in zip(times, measured, strict=True)]
            return f"{subject} takes {wording.join(ratios)}"
    for name in _names(record):
        if rows := usable(record, name):
            best, result = min(rows, key=lambda row: row[1]["p50_ms"])
            time = f"{wording.ms(result['p50_ms'])}{wording.THIN_SPACE}ms"
            return f"{best['title']} is the fastest of {len(rows)} networks with {runtime_title(name)}: {time}"
    return "No network could be measured"


def model(record: Row, name: str) -> Row:
    return next(row for row in record["models"] if row["name"] == name)


def usable(record: Row, runtime: str) -> list[tuple[Row, Row]]:
    """(network, result) of all networks that ran on the runtime with the right output."""
    return [
        (row, result)
        for row in record["models"]
        for result in row["results"]
        if result["runtime"] == runtime and result["p50_ms"] is not None and not result["problem"]
    ]


def pareto_front(rows: Sequence[tuple[Row, Row]]) -> list[Row]:
    """The Pareto front of latency and accuracy, from fast to slow."""
    front: list[Row] = []
    rated = [(row, result) for row, result in rows if row["top1"] is not None]
    for row, _ in sorted(rated, key=lambda pair: (pair[1]["p50_ms"], -pair[0]["top1"])):
        if not front or row["top1"] > front[-1]["top1"]:
            front.append(row)
    return front


def _names(record: Row) -> list[str]:
    return [runtime["name"] for runtime in record["runtimes"]]


def _comparison(record: Row, pair: Row) -> str:
    measured = [row for row in pair["results"] if row["ratio"] is not None]
    if not measured:
        return ""
    subject, baseline = model(record, pair["network"]), model(record, pair["baseline"])
    first, *others = measured
    compared = f"takes {_times(first)} times as long as {baseline['title']} with {runtime_title(first['runtime'])}"
    more = [f"{_times(row)} times with {runtime_title(row['runtime'])}" for row in others]
    ours_ms, theirs_ms = pair["paper_ms"]
    equal = "equal latency" if ours_ms == theirs_ms else f"{ours_ms / theirs_ms:.2f} times"
    words = (
        f"{subject['title']} {wording.join([compared, *more])}. "
        f"The paper reports {equal} ({ours_ms} and {theirs_ms} ms) on an {pair['paper_device']}: "
        f"{_verdict(pair, measured)}."
    )
    return " ".join(filter(None, (words, _macs(subject, baseline, measured), _accuracy(subject, baseline))))


def _times(row: Row) -> str:
    low, high = row["ratio_interval"]
    return f"{row['ratio']:.2f} [{wording.span(f'{low:.2f}', f'{high:.2f}')}]"


def _verdict(pair: Row, measured: list[Row]) -> str:
    """Whether the ratios on this device agree with the paper's, given the rounding of its milliseconds."""
    ours_ms, theirs_ms = pair["paper_ms"]
    low = (ours_ms - PAPER_ROUNDING_MS) / (theirs_ms + PAPER_ROUNDING_MS)
    high = (ours_ms + PAPER_ROUNDING_MS) / (theirs_ms - PAPER_ROUNDING_MS)
    ends = [row["ratio_interval"] for row in measured]
    if all(first <= high and last >= low for first, last in ends):
        return "the same here"
    if low <= 1 <= high:
        return "not confirmed here"
    slower = ours_ms > theirs_ms
    if all((first > 1) == slower and (last > 1) == slower for first, last in ends):
        apart = [row["ratio"] * theirs_ms / ours_ms for row in measured]
        least, most = f"{min(apart):.1f}", f"{max(apart):.1f}"
        times = least if least == most else f"{least} to {most}"
        return f"the order is the same here, and the ratio is {times} times the paper's"
    if all((first > 1) != slower and (last > 1) != slower for first, last in ends):
        return "the order is reversed here"
    return "here it depends on the runtime, or the difference is too small"


def _macs(subject: Row, baseline: Row, measured: list[Row]) -> str:
    if not (subject["macs"] and baseline["macs"]):
        return ""
    ratio = subject["macs"] / baseline["macs"]
    near = all(abs(row["ratio"] / ratio - 1) <= NEAR_MACS for row in measured)
    about = ", which is about the ratio of the latencies" if near else ""
    return f"{subject['title']} has {ratio:.2f} times the MACs{about}."


def _accuracy(subject: Row, baseline: Row) -> str:
    if subject["top1"] is None or baseline["top1"] is None:
        return ""
    return f"Published top-1: {subject['top1']:.1f} % against {baseline['top1']:.1f} %."


def _fronts(record: Row) -> Iterator[str]:
    """The Pareto front of each runtime; runtimes with the same front share a sentence."""
    runtimes: dict[tuple[str, ...], list[str]] = {}
    for name in _names(record):
        rows = usable(record, name)
        front = tuple(row["title"] for row in pareto_front(rows))
        if len(front) >= 2 and len(rows) > len(front):
            runtimes.setdefault(front, []).append(runtime_title(name))
    for front, names in runtimes.items():
        yield (
            f"With {wording.join(names)}, {wording.join(front)} are on the Pareto front: no measured network that is "
            "as fast has a higher published top-1."
        )


def _beaten(record: Row) -> Iterator[str]:
    """Each EfficientFormer that another network beats in latency and accuracy; runtimes with the same answer share a
    sentence."""
    runtimes: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in _names(record):
        rated = [(row, result) for row, result in usable(record, name) if row["top1"] is not None]
        for ours, own in filter(lambda pair: is_efficientformer(pair[0]), rated):
            better = tuple(
                row["title"]
                for row, result in rated
                if result["interval_ms"][1] < own["interval_ms"][0] and row["top1"] > ours["top1"]
            )
            if better:
                runtimes.setdefault((ours["title"], better), []).append(runtime_title(name))
    for (title, better), names in runtimes.items():
        rivals = wording.join(better)
        yield f"With {wording.join(names)}, {title} is slower than {rivals} and has a lower published top-1."


def is_efficientformer(network: Row) -> bool:
    return network["source"]["kind"] in ("zoo", "weights") or "efficientformer" in network["source"]["target"]


def _agreement(row: Row) -> str:
    first, second = map(runtime_title, row["runtimes"])
    return (
        f"Kendall's tau between the latencies of {row['num_networks']} networks with {first} and with {second} is "
        f"{row['kendall_tau']:.2f}."
    )


def _cost_of_macs(record: Row, runtime: str) -> str:
    """How much latency per MAC differs between networks."""
    rows = list(_ms_per_gmac(usable(record, runtime)))
    if len(rows) < 3:
        return ""
    (least, least_title), (most, most_title) = min(rows), max(rows)
    return (
        f"With {runtime_title(runtime)}, a GMAC takes {wording.ms(least)} ms in {least_title} and {wording.ms(most)} "
        f"ms in {most_title}: latencies inferred from MACs would be wrong by up to a factor of {most / least:.1f}."
    )


def _ms_per_gmac(rows: Sequence[tuple[Row, Row]]) -> Iterator[tuple[float, str]]:
    for row, result in rows:
        if row["macs"]:
            yield 1e9 * result["p50_ms"] / row["macs"], row["title"]
