"""Figures of an analysis: latency ratios as dots with their intervals, on a logarithmic axis."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from efficientformer.report import wording
from efficientformer.report.style import Figure, LegendEntry, finish, rounded, series_color, series_shape, var

Row = dict[str, Any]
Rows = Sequence[Row]

# Heights in pixels: the title of a group, the text of a setting, the dot of one runtime.
TITLE, SETTING, DOT, GAP = 26, 16, 15, 6
TICKS = (
    0.1,
    0.2,
    0.3,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1,
    1.1,
    1.2,
    1.3,
    1.5,
    1.75,
    2,
    2.5,
    3,
    4,
    5,
    7,
    10,
    15,
    20,
    30,
    50,
    100,
)
MAX_TICKS = 7
LEAST_SPAN = (0.9, 1.12)
MARKS = {"holds": ("\u2713", "good"), "does not hold here": ("\u2717", "bad"), "cannot be told": ("?", "muted")}
EFFECTS = {"saves": ("", "good"), "costs": ("", "bad")}


@dataclass(frozen=True)
class _Dot:
    """One ratio of the plot."""

    ratio: float
    interval: tuple[float, float]
    series: int | None
    mark: str
    tone: str
    threshold: float | None
    tooltip: dict[str, str]


_Groups = list[tuple[str, list[tuple[str, list[_Dot]]]]]
"""(title, [(setting, dots)])."""


def claim_figures(rows: Rows, runtimes: Sequence[str], name: str) -> list[tuple[str, Figure]]:
    """(title, figure) for every claim of one observation; rows without a claim come last."""
    figures = []
    claims = dict.fromkeys(row["claim"] for row in rows)
    for claim in sorted(claims, key=lambda key: key is None):
        tried = [row for row in rows if row["claim"] == claim]
        groups = _grouped(tried, "name", _setting, lambda row: _experiment_dot(row, runtimes))
        paper = next((row["paper"] for row in tried if row["paper"] and row["paper"]["ratio"]), None)
        if paper is not None:
            groups.append(("in the paper, as reported", [(paper["words"], [_paper_dot(paper)])]))
        words = tried[0]["claim_words"] or "Further choices, without a claim of the paper"
        legend = _legend(tried, runtimes, has_threshold=claim is not None, has_paper=paper is not None)
        alt_text = f"{words} Ratios of latencies with 95 % intervals: {_spoken(tried)}."
        figures.append(
            (
                words,
                _plot(
                    f"{name}-{claim or 'other'}",
                    groups,
                    "latency of the first relative to the second",
                    alt_text,
                    legend,
                ),
            )
        )
    return figures


def switches_figure(rows: Rows, runtimes: Sequence[str]) -> Figure:
    """Every changed choice in whole networks: latency relative to the published network."""
    groups = _grouped(
        rows, "choice", lambda row: row["network"], lambda row: _effect_dot(row, runtimes, ("choice", "network"))
    )
    legend = _legend(rows, runtimes, has_threshold=False, has_paper=False)
    alt_text = "Latency of whole networks with one choice changed, relative to the published network."
    return _plot("switches", groups, "latency relative to the published network", alt_text, legend)


def choice_figure(rows: Rows, runtimes: Sequence[str], name: str) -> Figure:
    """Every tried option of one choice of a space: latency relative to the option that it replaces."""
    groups = _grouped(rows, "name", _setting, lambda row: _effect_dot(row, runtimes, ("name", "setting")))
    legend = _legend(rows, runtimes, has_threshold=False, has_paper=False)
    alt_text = f"Ratios of latencies with 95 % intervals: {_spoken(rows)}."
    return _plot(name, groups, "latency of the first relative to the second", alt_text, legend)


def _grouped(rows: Rows, title: str, setting: Callable[[Row], str], dot: Callable[[Row], _Dot]) -> _Groups:
    groups: dict[str, dict[str, list[_Dot]]] = {}
    for row in rows:
        groups.setdefault(row[title], {}).setdefault(setting(row), []).append(dot(row))
    return [(words, list(settings.items())) for words, settings in groups.items()]


def _setting(row: Row) -> str:
    """The setting, and the subject's MACs as a fraction of the baseline's if they differ."""
    share = row["subject_macs"] / row["baseline_macs"]
    return row["setting"] if abs(share - 1) < 0.005 else f"{row['setting']}; {share:.2f} of the MACs"


def _experiment_dot(row: Row, runtimes: Sequence[str]) -> _Dot:
    mark, tone = MARKS.get(row["verdict"], ("", "ink"))
    tooltip = {"experiment": row["name"], "setting": row["setting"], **_values(row)}
    if row["verdict"]:
        tooltip["verdict"] = f"{row['verdict']} (threshold: {row['bound']} {row['threshold']:g})"
    series = runtimes.index(row["runtime"])
    return _Dot(row["ratio"], tuple(row["interval"]), series, mark, tone, row["threshold"], tooltip)


def _effect_dot(row: Row, runtimes: Sequence[str], fields: Sequence[str]) -> _Dot:
    mark, tone = EFFECTS.get(row["effect"], ("", "muted"))
    tooltip = {**{field: row[field] for field in fields}, **_values(row)}
    return _Dot(row["ratio"], tuple(row["interval"]), runtimes.index(row["runtime"]), mark, tone, None, tooltip)


def _paper_dot(paper: dict[str, Any]) -> _Dot:
    ratio = paper["ratio"]
    return _Dot(ratio, (ratio, ratio), None, "", "muted", None, {"paper": paper["words"], "source": paper["source"]})


def _values(row: dict[str, Any]) -> dict[str, str]:
    low, high = row["interval"]
    return {
        "runtime": wording.runtime_title(row["runtime"]),
        "ratio": f"{row['ratio']:.3f}",
        "interval": f"{low:.3f} to {high:.3f}",
    }


def _spoken(rows: Rows) -> str:
    return "; ".join(f"{row['name']}, {row['setting']}, {row['runtime']} {row['ratio']:.2f}" for row in rows)


def _legend(rows: Rows, runtimes: Sequence[str], *, has_threshold: bool, has_paper: bool) -> tuple[LegendEntry, ...]:
    found = {row["runtime"] for row in rows}
    entries = [
        LegendEntry(wording.runtime_title(runtime), series_color(index), series_shape(index))
        for index, runtime in enumerate(runtimes)
        if runtime in found
    ]
    entries.append(LegendEntry("equally fast", var("muted"), "line"))
    if has_threshold:
        entries.append(LegendEntry("threshold of the claim", var("ink"), "line", (2, 2)))
    if has_paper:
        entries.append(LegendEntry("the paper, as reported", var("muted"), "ring"))
    return tuple(entries)


def _plot(name: str, groups: _Groups, axis: str, alt_text: str, legend: tuple[LegendEntry, ...]) -> Figure:
    import altair as alt

    texts, dots, rules, height = _placed(groups)
    low, high = _domain([dot for _, settings in groups for _, line in settings for dot in line])
    ticks = _ticks(low, high)
    y_scale = alt.Scale(domain=[height, 0], nice=False, zero=False)

    def x(field: str) -> Any:
        scale = alt.Scale(type="log", domain=[low, high], nice=False)
        return alt.X(f"{field}:Q").title(axis).scale(scale).axis(values=ticks, format="~g")

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q").scale(y_scale).axis(None)

    def color_of(field: str, channel: Any = alt.Color) -> Any:
        return channel(f"{field}:N").scale(None)

    def heading(kind: str, weight: Literal["bold", "normal"]) -> Any:
        chosen = alt.Data(values=[text for text in texts if text["kind"] == kind])
        words = alt.Chart(chosen).mark_text(
            align="left", baseline="middle", fontSize=11.5, fontWeight=weight, limit=1200
        )
        return words.encode(x=alt.value(0), y=y("y"), text="words:N", color=color_of("color"))

    ruled = alt.Chart(alt.Data(values=rules)).mark_rule(strokeWidth=1.2)
    spread = alt.Chart(alt.Data(values=dots)).mark_rule(strokeWidth=2)
    point = alt.Chart(alt.Data(values=dots)).mark_point(filled=True, size=46, opacity=1, strokeWidth=1.4)
    value = alt.Chart(alt.Data(values=dots)).mark_text(align="left", baseline="middle", dx=9, fontSize=11)
    # A halo in the color of the paper keeps numbers readable on top of lines.
    halo = value.copy(deep=True).mark_text(
        align="left", baseline="middle", dx=9, fontSize=11, stroke=var("paper"), strokeWidth=4, aria=False
    )
    fields = list(dict.fromkeys(key for dot in dots for key in dot["tooltip"]))
    tooltip = [alt.Tooltip(f"tooltip.{field}:N", title=field) for field in fields]
    dash = alt.StrokeDash("dash:N").scale(domain=["equal", "asked"], range=[[1, 0], [2, 2]])
    chart = alt.layer(
        ruled.encode(x=x("ratio"), y=y("from"), y2="to:Q", color=color_of("color"), strokeDash=dash),
        heading("title", "bold"),
        heading("setting", "normal"),
        spread.encode(x=x("low"), x2="high:Q", y=y("y"), color=color_of("color")),
        point.encode(
            x=x("ratio"),
            y=y("y"),
            stroke=color_of("color", alt.Stroke),
            fill=color_of("fill", alt.Fill),
            shape=alt.Shape("shape:N").scale(None),
            tooltip=tooltip,
        ),
        halo.encode(x=x("high"), y=y("y"), text="words:N"),
        value.encode(x=x("high"), y=y("y"), text="words:N", color=color_of("tone")),
    )
    return finish(name, chart, alt_text, height, legend)


def _placed(groups: _Groups) -> tuple[list[Any], list[Any], list[Any], int]:
    """Texts, dots and vertical lines with their positions, and the total height."""
    texts: list[Any] = []
    dots: list[Any] = []
    rules: list[Any] = []
    top = 0
    for title, settings in groups:
        texts.append({"kind": "title", "words": title, "y": top + TITLE / 2, "color": var("ink")})
        top += TITLE
        for setting, line in settings:
            texts.append({"kind": "setting", "words": setting, "y": top + SETTING / 2, "color": var("muted")})
            top += SETTING
            bottom = top + DOT * len(line)
            rules.append(_rule(1.0, top, bottom, "equal"))
            rules += [_rule(threshold, top, bottom, "asked") for threshold in {dot.threshold for dot in line} - {None}]
            dots += [_dot_row(dot, top + DOT * (index + 0.5)) for index, dot in enumerate(line)]
            top = bottom + GAP
    return texts, dots, rules, top


def _rule(ratio: float | None, top: float, bottom: float, kind: str) -> dict[str, Any]:
    color = var("muted") if kind == "equal" else var("ink")
    return {"ratio": ratio, "from": top, "to": bottom, "dash": kind, "color": color}


def _dot_row(dot: _Dot, y: float) -> dict[str, Any]:
    is_paper = dot.series is None
    color = var("muted") if dot.series is None else series_color(dot.series)
    return {
        "ratio": rounded(dot.ratio),
        "low": rounded(dot.interval[0]),
        "high": rounded(dot.interval[1]),
        "y": y,
        "color": color,
        "fill": "transparent" if is_paper else color,
        "shape": "circle" if dot.series is None else series_shape(dot.series),
        "words": f"{dot.ratio:.2f} {dot.mark}".rstrip(),
        "tone": var(dot.tone),
        "tooltip": dot.tooltip,
    }


def _domain(dots: Sequence[_Dot]) -> tuple[float, float]:
    """From the smallest to the largest value, with room on the right for the numbers next to the dots."""
    values = [*LEAST_SPAN, *(end for dot in dots for end in (*dot.interval, dot.threshold) if end)]
    low, high = math.log(min(values)), math.log(max(values))
    room = high - low
    return rounded(math.exp(low - 0.03 * room), 4) or 1.0, rounded(math.exp(high + 0.16 * room), 4) or 1.0


def _ticks(low: float, high: float) -> list[float]:
    """At most MAX_TICKS round values inside, including 1."""
    inside = [tick for tick in TICKS if low <= tick <= high]
    while len(inside) > MAX_TICKS:
        one = inside.index(1)
        inside = [tick for index, tick in enumerate(inside) if (index - one) % 2 == 0]
    return inside
