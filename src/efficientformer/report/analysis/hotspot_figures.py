"""Latency by class of operator: one stacked bar per network and runtime."""

from collections.abc import Sequence
from typing import Any

from efficientformer.report import wording
from efficientformer.report.style import Figure, LegendEntry, finish, rounded, var

Rows = Sequence[dict[str, Any]]

# Label and color of each class of the analysis, in the order of the bars. Neighbors differ in hue and in lightness.
CLASSES = {
    "patch_embedding": ("patch embedding, stem, downsamples", "series-2"),
    "convolution": ("convolution", "series-0"),
    "mlp": ("MLP", "series-5"),
    "attention": ("attention", "series-1"),
    "pooling": ("pooling", "series-4"),
    "normalization": ("normalization", "series-3"),
    "activation": ("activation, not fused", "pale-1"),
    "reshape": ("reshape, change of layout", "muted"),
    "elementwise": ("addition, scale", "pale-2"),
    "head": ("classifier", "pale-muted"),
    "other": ("not recognized", "ink"),
}
WRITTEN_IN = {
    **dict.fromkeys(("series-0", "muted", "ink"), "paper"),
    **dict.fromkeys(("series-5", "wash", "pale-1", "pale-2", "pale-muted"), "ink"),
}
"""A text color that is readable on each color, in light mode and in dark mode; by default `on-block`."""
BETWEEN, NO_PROFILER = "between operators", "no profiler"
BAR, GAP, HEADING = 16, 8, 28
TEXT_SIZES: dict[Any, int] = {"left": 11, "right": 11, "center": 10}
"""Font sizes by alignment: runtimes and totals, names of networks, percentages."""
NAME_WIDTH = 0.24
"""Width of the names, relative to the longest bar."""
LABELED = 0.045
"""Least length of a part that is labeled with its percentage, relative to the longest bar."""


def hotspots_figure(rows: Rows) -> Figure:
    """Latency by class of operator, one bar per network, grouped by runtime; long parts show their percentage."""
    import altair as alt

    longest = max((_length(row) for row in rows), default=0.0) or 1.0
    segments, texts, ticks, height = _placed(rows, longest)
    y_scale = alt.Scale(domain=[height, 0], nice=False, zero=False)
    x_scale = alt.Scale(domain=[-NAME_WIDTH * longest, 1.1 * longest], nice=False, zero=False)
    x_axis = alt.Axis(values=_axis_values(longest), domain=False)

    def x(field: str) -> Any:
        return alt.X(f"{field}:Q").title("latency (ms)").scale(x_scale).axis(x_axis)

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q").scale(y_scale).axis(None)

    fields = ("network", "runtime", "part", "ms", "share", "source")
    parts = alt.Chart(alt.Data(values=segments)).mark_rect(strokeWidth=1)
    totals = alt.Chart(alt.Data(values=ticks)).mark_rule(color=var("ink"))
    layers: list[Any] = [
        parts.encode(
            x=x("from"), x2="to:Q", y=y("top"), y2="bottom:Q",
            fill=alt.Fill("fill:N").scale(None), stroke=alt.Stroke("stroke:N").scale(None),
            tooltip=[alt.Tooltip(f"{field}:N", title=field) for field in fields],
        ),
        totals.encode(x=x("x"), y=y("top"), y2="bottom:Q"),
    ]  # fmt: skip
    for align, size in TEXT_SIZES.items():
        words = alt.Chart(alt.Data(values=[text for text in texts if text["align"] == align]))
        words = words.mark_text(baseline="middle", align=align, fontSize=size, limit=600)
        layers.append(words.encode(x=x("x"), y=y("y"), text="words:N", color=alt.Color("color:N").scale(None)))
    return finish("hotspots", alt.layer(*layers), _spoken(rows), height, _legend(rows))


def _placed(rows: Rows, longest: float) -> tuple[list[Any], list[Any], list[Any], int]:
    """Segments, texts and ticks of the totals, with their positions, and the total height."""
    segments: list[Any] = []
    texts: list[Any] = []
    ticks: list[Any] = []
    top = 0
    left = -NAME_WIDTH * longest
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        texts.append(_text(left, top + HEADING / 2, "left", runtime, "ink"))
        top += HEADING
        of_runtime = [row for row in rows if row["runtime"] == runtime]
        if all(row["total_ms"] is None for row in of_runtime):
            texts.append(_text(0.0, top + BAR / 2, "left", NO_PROFILER, "muted"))
            top += BAR + GAP
            continue
        for row in of_runtime:
            middle, bottom = top + BAR / 2, top + BAR
            texts.append(_text(-0.012 * longest, middle, "right", row.get("title") or row["model"], "muted"))
            if row["total_ms"] is None:
                texts.append(_text(0.0, middle, "left", NO_PROFILER, "muted"))
            else:
                drawn = _segments(row, top, bottom)
                segments += drawn
                texts += [_share(item, longest) for item in drawn if item["to"] - item["from"] >= LABELED * longest]
                end = rounded(_length(row) + 0.012 * longest) or 0.0
                texts.append(_text(end, middle, "left", f"{wording.ms(row['total_ms'])} ms", "ink"))
                ticks.append({"x": rounded(row["total_ms"]), "top": top - 2, "bottom": bottom + 2})
            top = bottom + GAP
    return segments, texts, ticks, top


def _segments(row: dict[str, Any], top: float, bottom: float) -> list[dict[str, Any]]:
    """The parts of one bar; an empty one at its end is the time that belongs to no class."""
    parts = [(CLASSES[name][0], row["classes"][name], CLASSES[name][1]) for name in CLASSES if name in row["classes"]]
    if row["unassigned_ms"] > 0:
        parts.append((BETWEEN, row["unassigned_ms"], "wash"))
    drawn, start = [], 0.0
    for part, ms, color in parts:
        drawn.append(
            {
                "from": rounded(start),
                "to": rounded(start + ms),
                "top": top,
                "bottom": bottom,
                "fill": var(color),
                "stroke": var("line" if part == BETWEEN else "paper"),
                "on": WRITTEN_IN.get(color, "on-block"),
                "percent": 100 * ms / row["total_ms"],
                "network": row.get("title") or row["model"],
                "runtime": row["runtime"],
                "part": part,
                "ms": wording.ms(ms),
                "share": f"{wording.percent(100 * ms / row['total_ms'])} %",
                "source": row["source"],
            }
        )
        start += ms
    return drawn


def _share(segment: dict[str, Any], longest: float) -> dict[str, Any]:
    middle = (segment["top"] + segment["bottom"]) / 2
    has_room = segment["to"] - segment["from"] >= 1.5 * LABELED * longest
    words = f"{segment['percent']:.0f}{' %' if has_room else ''}"
    return _text((segment["from"] + segment["to"]) / 2, middle, "center", words, segment["on"])


def _text(x: float, y: float, align: str, words: str, color: str) -> dict[str, Any]:
    return {"x": rounded(x), "y": y, "align": align, "words": words, "color": var(color)}


def _length(row: dict[str, Any]) -> float:
    """Length of a bar: its total, or the sum of the profiler's times if that is larger."""
    if row["total_ms"] is None:
        return 0.0
    return max(row["total_ms"], sum(row["classes"].values()))


def _axis_values(longest: float) -> list[float]:
    steps = (size * 10.0**power for power in range(-4, 5) for size in (1, 2, 5))
    step = next(step for step in steps if longest / step <= 8)
    return [rounded(index * step) or 0.0 for index in range(int(longest / step) + 1)]


def _legend(rows: Rows) -> tuple[LegendEntry, ...]:
    found = {name for row in rows for name in row["classes"]}
    entries = [LegendEntry(words, var(color), "square") for name, (words, color) in CLASSES.items() if name in found]
    if any((row["unassigned_ms"] or 0) > 0 for row in rows):
        entries.append(LegendEntry(BETWEEN, var("line"), "square"))
    return tuple(entries)


def _spoken(rows: Rows) -> str:
    words = ["Latency in milliseconds by class of operator."]
    for row in rows:
        name = f"{row.get('title') or row['model']}, {row['runtime']}"
        if row["total_ms"] is None or not row["classes"]:
            words.append(f"{name}: no profiler.")
            continue
        largest = max(row["classes"], key=row["classes"].get)
        share = 100 * row["classes"][largest] / row["total_ms"]
        words.append(f"{name}: {wording.ms(row['total_ms'])} ms, {share:.0f} % of it {CLASSES[largest][0]}.")
    return " ".join(words)
