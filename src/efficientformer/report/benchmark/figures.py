"""Figures of a benchmark: published accuracy against measured latency, and ratios to the reference."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from efficientformer.report import wording
from efficientformer.report.benchmark.findings import is_efficientformer, model, pareto_front, usable
from efficientformer.report.style import Figure, LegendEntry, finish, rounded, series_color, series_shape, var

OURS, OTHERS = (var("series-1"), "diamond"), (var("series-0"), "circle")
ROW_HEIGHT = 19
AXIS_HEIGHT = 40
# Possible positions of a label next to its point: (alignment, baseline, dx, dy).
PLACES = (
    ("left", "bottom", 5, -4),
    ("right", "bottom", -5, -4),
    ("left", "top", 6, 5),
    ("center", "bottom", 0, -8),
    ("center", "top", 0, 9),
    ("left", "middle", 8, 0),
    ("right", "middle", -8, 0),
    ("right", "top", -6, 6),
)

Row = dict[str, Any]


def planes(record: Row) -> list[tuple[str, Figure]]:
    """(runtime, top-1 against latency) for every runtime with at least two networks of known accuracy, on common
    axes."""
    figures = []
    ends = [
        (result["p50_ms"], row["top1"])
        for runtime in record["runtimes"]
        for row, result in usable(record, runtime["name"])
        if row["top1"] is not None
    ]
    for runtime in record["runtimes"]:
        name = runtime["name"]
        rows = _plane_rows(record, name)
        if len(rows) >= 2:
            figures.append((wording.runtime_title(name), _plane(name, rows, ends)))
    return figures


def ratios(record: Row) -> Figure | None:
    """Latency of every network relative to the reference on the same runtime, with the ratio of their MACs."""
    import altair as alt

    rows, macs = _ratio_rows(record)
    if not rows:
        return None
    order = list(dict.fromkeys(row["network"] for row in sorted(rows, key=lambda row: row["ratio"])))
    runtimes = [runtime["name"] for runtime in record["runtimes"]]
    x = (
        alt.X("ratio:Q")
        .scale(type="log", nice=False, padding=14)
        .title("latency relative to the reference")
        .axis(grid=True, format="~g", tickCount=8)
    )
    y = alt.Y("network:N").sort(order).title(None).axis(labelLimit=190, ticks=False, domain=False)
    base = alt.Chart(alt.Data(values=rows)).encode(y=y, color=alt.Color("color:N").scale(None))
    tooltip = [
        alt.Tooltip("network:N"),
        alt.Tooltip("runtime:N"),
        alt.Tooltip("ratio:Q", title="ratio", format=".3f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("latency:N", title="p50, ms"),
    ]
    one = alt.Chart(alt.Data(values=[{"ratio": 1}])).mark_rule(color=var("muted"), strokeDash=[5, 4]).encode(x=x)
    expected = (
        alt.Chart(alt.Data(values=macs))
        .mark_tick(color=var("muted"), thickness=2, size=12)
        .encode(
            x=x, y=y, tooltip=[alt.Tooltip("network:N"), alt.Tooltip("ratio:Q", title="ratio of MACs", format=".2f")]
        )
    )
    spread = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q").title("latency relative to the reference"), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=62, opacity=0.95, stroke=var("paper"), strokeWidth=0.7).encode(
        x=x, shape=alt.Shape("mark:N").scale(None), tooltip=tooltip
    )
    legend = [
        LegendEntry(wording.runtime_title(name), series_color(index), series_shape(index))
        for index, name in enumerate(runtimes)
        if any(row["runtime"] == wording.runtime_title(name) for row in rows)
    ]
    legend.append(LegendEntry("ratio of MACs", var("muted"), "line"))
    words = f"Latency of {len(order)} networks relative to {model(record, record['reference'])['title']}."
    height = ROW_HEIGHT * len(order) + AXIS_HEIGHT
    return finish("ratios", alt.layer(one, expected, spread, points), words, height, tuple(legend))


def _ratio_rows(record: Row) -> tuple[list[Row], list[Row]]:
    reference = model(record, record["reference"])
    rows, macs = [], []
    for index, runtime in enumerate(record["runtimes"]):
        for network, result in usable(record, runtime["name"]):
            if result["ratio"] is None:
                continue
            low, high = result["ratio_interval"]
            rows.append(
                {
                    "network": network["title"],
                    "runtime": wording.runtime_title(runtime["name"]),
                    "ratio": rounded(result["ratio"]),
                    "low": rounded(low),
                    "high": rounded(high),
                    "interval": wording.span(f"{low:.3f}", f"{high:.3f}"),
                    "latency": wording.ms(result["p50_ms"]),
                    "color": series_color(index),
                    "mark": series_shape(index),
                }
            )
            if network["macs"] and reference["macs"]:
                macs.append({"network": network["title"], "ratio": rounded(network["macs"] / reference["macs"])})
    return rows, list({row["network"]: row for row in macs}.values())


def _plane_rows(record: Row, runtime: str) -> list[Row]:
    results = usable(record, runtime)
    front = [row["name"] for row in pareto_front(results)]
    rows = []
    for network, result in results:
        if network["top1"] is None:
            continue
        color, mark = OURS if is_efficientformer(network) else OTHERS
        labeled = network["name"] in front or is_efficientformer(network) or network["name"] == record["reference"]
        rows.append(
            {
                "network": network["title"],
                "latency_ms": rounded(result["p50_ms"]),
                "interval": wording.interval(result["interval_ms"]),
                "top1": rounded(network["top1"]),
                "source": network["top1_source"],
                "resolution": wording.grid(tuple(network["resolution"])),
                "on_front": network["name"] in front,
                "label": network["title"] if labeled else "",
                "color": color,
                "mark": mark,
            }
        )
    return rows


def _plane(runtime: str, rows: list[Row], ends: list[tuple[float, float]]) -> Figure:
    import altair as alt

    latencies, tops = zip(*ends, strict=True)
    x = alt.X("latency_ms:Q").title("latency (ms)").axis(format="~g", tickCount=10)
    x = x.scale(type="log", nice=False, domain=[0.85 * min(latencies), 1.35 * max(latencies)])
    y = alt.Y("top1:Q").title("published top-1 (%)").axis(tickCount=6)
    y = y.scale(zero=False, nice=False, domain=[min(tops) - 1, max(tops) + 1])
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("network:N"),
        alt.Tooltip("latency_ms:Q", title="p50, ms", format=".3r"),
        alt.Tooltip("interval:N", title="95 % interval, ms"),
        alt.Tooltip("top1:Q", title="top-1 %", format=".2f"),
        alt.Tooltip("resolution:N", title="input, px"),
        alt.Tooltip("source:N", title="accuracy from"),
    ]
    front = base.transform_filter("datum.on_front").mark_line(
        color=var("muted"), strokeWidth=1.2, interpolate="step-after", opacity=0.8
    )
    points = base.mark_point(filled=True, size=74, opacity=0.95, stroke=var("paper"), strokeWidth=0.8).encode(
        color=alt.Color("color:N").scale(None), shape=alt.Shape("mark:N").scale(None), tooltip=tooltip
    )
    labels = [
        alt.Chart(alt.Data(values=placed))
        .mark_text(align=align, baseline=baseline, dx=dx, dy=dy, fontSize=11)
        .encode(x=x, y=y, text="label:N")
        for (align, baseline, dx, dy), placed in _placed_labels(rows, ends)
    ]
    legend = (
        LegendEntry("EfficientFormer", *OURS),
        LegendEntry("other networks", *OTHERS),
        LegendEntry("Pareto front", var("muted"), "line"),
    )
    words = f"Published top-1 accuracy against latency of {len(rows)} networks with {wording.runtime_title(runtime)}."
    return finish(f"plane-{runtime}", alt.layer(front, points, *labels), words, 380, legend)


def _placed_labels(rows: list[Row], ends: list[tuple[float, float]]) -> list[tuple[tuple, list[Row]]]:
    """Labels grouped by their position next to their points; each takes the first free position.

    The width of the chart depends on the page, so overlaps are computed for a common width.
    """
    width, height, letter, line = 850, 350, 6.2, 13
    latencies, tops = zip(*ends, strict=True)
    left, right = math.log(0.85 * min(latencies)), math.log(1.35 * max(latencies))
    low, high = min(tops) - 1, max(tops) + 1
    spots = {
        row["network"]: (
            width * (math.log(row["latency_ms"]) - left) / (right - left),
            height * (high - row["top1"]) / (high - low),
        )
        for row in rows
    }
    marks = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots.values()]
    lines = list(_front_lines([spots[row["network"]] for row in rows if row["on_front"]]))
    placed: dict[tuple, list[Row]] = {}
    for row in filter(lambda row: row["label"], rows):
        x, y = spots[row["network"]]
        boxes = {place: _box(place, x, y, letter * len(row["label"]), line) for place in PLACES}
        inside = {place: box for place, box in boxes.items() if box[0] >= 0 and box[2] <= width}
        # If every position overlaps something, a label may overlap the line of the front.
        for taken in ([*marks, *lines], marks):
            free = (place for place, box in inside.items() if not any(_overlap(box, other) for other in taken))
            if (place := next(free, None)) is not None:
                marks.append(boxes[place])
                placed.setdefault(place, []).append(row)
                break
    return list(placed.items())


def _front_lines(spots: list[tuple[float, float]]) -> Iterator[tuple[float, float, float, float]]:
    """The steps of the front as boxes: from each spot to the right, then up to the next."""
    for (x, y), (next_x, next_y) in pairwise(sorted(spots)):
        yield x, y - 1, next_x, y + 1
        yield next_x - 1, next_y, next_x + 1, y


def _box(place: tuple, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    align, baseline, dx, dy = place
    left = x + dx - {"left": 0, "center": width / 2, "right": width}[align]
    top = y + dy - {"top": 0, "middle": height / 2, "bottom": height}[baseline]
    return left, top, left + width, top + height


def _overlap(one: tuple, other: tuple) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
