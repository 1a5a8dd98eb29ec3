"""Figures of the latency table: how well the sum of parts predicts whole networks, and the latency of each block."""

from collections import Counter
from typing import Any

from efficientformer.arch.parts import Part, block_parts, stage_grids
from efficientformer.arch.resolution import Grid, grid_of_input
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Activation
from efficientformer.arch.stage_space import StageSpace
from efficientformer.report import wording
from efficientformer.report.style import Figure, LegendEntry, finish, rounded, var

GROUPS = {
    "calibration": (var("series-0"), "circle"),
    "held out": (var("series-1"), "square"),
    "extreme": (var("muted"), "diamond"),
}
GROUP_WORDS = {
    "calibration": "network used for calibration",
    "held out": "held-out network",
    "extreme": "largest and smallest network",
}
KIND_MARKS = {
    "MB4D": ("circle", [1, 0]),
    "MB3D": ("square", [5, 3]),
    "FFN": ("circle", [1, 0]),
    "MHSA": ("square", [5, 3]),
}


def network_errors(table: dict[str, Any]) -> tuple[Figure, Figure] | None:
    """Measured against predicted latency of whole networks with the identity line, and the error in percent."""
    rows = _network_rows(table)
    if not rows:
        return None
    groups = [group for group in GROUPS if any(row["group"] == group for row in rows)]
    legend = (
        *(LegendEntry(GROUP_WORDS[group], *GROUPS[group]) for group in groups),
        LegendEntry("measured = predicted", var("muted"), "line", (5, 4)),
    )
    error = table.get("error") or {}
    words = (
        f"Predicted against measured latency of {len(rows)} whole networks; the mean error is "
        f"{wording.percent(error.get('mean_percent'))} %, the largest {wording.percent(error.get('max_percent'))} %."
    )
    low, high = min(row["predicted_ms"] for row in rows), max(row["predicted_ms"] for row in rows)
    return (
        finish("table-identity", _identity_chart(rows, low, high), words, 280, legend),
        finish("table-error", _error_chart(rows), "Error of the prediction in percent, by measured latency.", 280),
    )


def block_latencies(table: dict[str, Any]) -> tuple[tuple[int, str, Figure], ...]:
    """(stage, map size, latency by width for each kind of block) for the stages whose blocks the table holds. The
    halves of an AttnFFN count as kinds."""
    space = SearchSpace.from_json(table["space"])
    panels = []
    grids = stage_grids(space.stem_strides, grid_of_input(table["resolution"]))
    for index, grid in enumerate(grids):
        if rows := _block_rows(table["entries"], space.stages[index], grid, space.activation):
            size = wording.grid(grid)
            words = f"Latency of one block of stage {index + 1} by width, on maps of {size}."
            panels.append((index + 1, size, finish(f"blocks-{index + 1}", _block_chart(rows), words, 150)))
    return tuple(panels)


def _block_rows(entries: dict[str, Any], stage: StageSpace, grid: Grid, activation: Activation) -> list[dict[str, Any]]:
    """One row per measured part of a stage's blocks, by kind, expansion, heads and width."""
    known = [part for part in _parts(stage, grid, activation) if part.key in entries]
    expansions = Counter(kind for kind, _ in {(part.kind, part.expansion) for part in known})
    heads = Counter(kind for kind, _ in {(part.kind, part.num_heads) for part in known})
    rows = []
    for part in known:
        entry = entries[part.key]
        low, high = entry.get("interval_ms") or (entry["latency_ms"],) * 2
        names = [f"{wording.TIMES}{part.expansion}"] if expansions[part.kind] > 1 else []
        names += [f"{part.num_heads}h"] if heads[part.kind] > 1 else []
        line = " ".join(names)
        values = {"latency_ms": rounded(entry["latency_ms"]), "low": rounded(low), "high": rounded(high)}
        rows.append({"kind": part.kind, "line": line, "width": part.width, **values})
    return rows


def _parts(stage: StageSpace, grid: Grid, activation: Activation) -> list[Part]:
    """Every part of a stage's blocks, the cheapest kind first."""
    blocks = reversed(stage.candidates)
    parts = (
        part
        for block in blocks
        for width in stage.widths
        for part in block_parts(block, grid, width, activation=activation)
    )
    return list(dict.fromkeys(parts))


def interpolation_rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    """By kind of part: the error of measured widths interpolated from their neighbors; `percent` only above noise."""
    rows = []
    for kind, errors in (table.get("interpolation") or {}).items():
        above_noise = errors["latency_ms"] > 2 * errors["noise_ms"]
        percent = 100 * errors["mean_ms"] / errors["latency_ms"] if above_noise else None
        rows.append({"kind": kind, "percent": percent, **errors})
    return rows


def block_legend(table: dict[str, Any]) -> tuple[LegendEntry, ...]:
    """The kinds of the space's blocks, and what the numbers at the lines mean."""
    space = SearchSpace.from_json(table["space"])
    stages = space.stages
    kinds = {part.kind for stage in stages for part in _parts(stage, (1, 1), space.activation)}
    legend = [LegendEntry(kind, var(kind.lower()), KIND_MARKS[kind][0]) for kind in KIND_MARKS if kind in kinds]
    if any(len(stage.expansions) > 1 for stage in stages):
        legend.append(LegendEntry(f"{wording.TIMES}4: expansion 4", var("muted"), "line"))
    if any(stage.heads for stage in stages):
        legend.append(LegendEntry("4h: 4 heads", var("muted"), "line"))
    return tuple(legend)


def _network_rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    ends = [(table.get(name) or {}).get("architecture") for name in ("largest", "smallest")]
    for network in table.get("networks") or []:
        if network["architecture"] in ends and not network["held_out"]:
            continue
        group = "held out" if network["held_out"] else "calibration"
        rows.append(_network_row(group, network, network["measured_ms"]))
    for name in ("largest", "smallest"):
        network = table.get(name)
        if network and network.get("predicted_ms") is not None:
            rows.append(_network_row("extreme", network, network["p50_ms"]))
    return rows


def _network_row(group: str, network: dict[str, Any], measured_ms: float) -> dict[str, Any]:
    low, high = network.get("interval_ms") or (measured_ms, measured_ms)
    predicted_ms = network["predicted_ms"]
    color, mark = GROUPS[group]
    return {
        "group": group,
        "predicted_ms": rounded(predicted_ms),
        "measured_ms": rounded(measured_ms),
        "low_ms": rounded(low),
        "high_ms": rounded(high),
        "interval": wording.interval((low, high)),
        "error_percent": rounded(100 * (predicted_ms - measured_ms) / measured_ms, 3),
        "shape": wording.shape(network["architecture"]),
        "color": color,
        "mark": mark,
    }


def _tooltip() -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("group:N", title="network"),
        alt.Tooltip("predicted_ms:Q", title="predicted, ms", format=".3r"),
        alt.Tooltip("measured_ms:Q", title="measured, ms", format=".3r"),
        alt.Tooltip("interval:N", title="95 % interval, ms"),
        alt.Tooltip("error_percent:Q", title="error, %", format="+.1f"),
        alt.Tooltip("shape:N", title="shape"),
    ]


def _points(rows: list[dict[str, Any]], x: Any, y: Any) -> Any:
    import altair as alt

    point = alt.Chart(alt.Data(values=rows)).mark_point(
        filled=True, size=52, opacity=0.95, stroke=var("paper"), strokeWidth=0.7
    )
    color, shape = alt.Color("color:N").scale(None), alt.Shape("mark:N").scale(None)
    return point.encode(x=x, y=y, color=color, shape=shape, tooltip=_tooltip())


def _identity_chart(rows: list[dict[str, Any]], low: float, high: float) -> Any:
    import altair as alt

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q").title("measured latency (ms)").scale(zero=False, nice=True)

    x = alt.X("predicted_ms:Q").title("predicted latency (ms)").scale(zero=False, nice=True)
    ends = [{"predicted_ms": rounded(end), "measured_ms": rounded(end)} for end in (low, high)]
    identity = alt.Chart(alt.Data(values=ends)).mark_line(color=var("muted"), strokeDash=[5, 4], strokeWidth=1)
    spread = alt.Chart(alt.Data(values=rows)).mark_rule(strokeWidth=1.5, opacity=0.7)
    spread = spread.encode(x=x, y=y("low_ms"), y2="high_ms:Q", color=alt.Color("color:N").scale(None))
    return alt.layer(identity.encode(x=x, y=y("measured_ms")), spread, _points(rows, x, y("measured_ms")))


def _error_chart(rows: list[dict[str, Any]]) -> Any:
    import altair as alt

    x = alt.X("measured_ms:Q").title("measured latency (ms)").scale(zero=False, nice=True)
    y = alt.Y("error_percent:Q").title(f"predicted {wording.MINUS} measured (%)")
    zero = alt.Chart(alt.Data(values=[{"error_percent": 0}])).mark_rule(color=var("muted"), strokeDash=[5, 4])
    return alt.layer(zero.encode(y=y), _points(rows, x, y))


def _block_chart(rows: list[dict[str, Any]]) -> Any:
    import altair as alt

    kinds = [kind for kind in KIND_MARKS if any(row["kind"] == kind for row in rows)]
    marks = [KIND_MARKS[kind] for kind in kinds]
    widths = sorted({row["width"] for row in rows})
    ticks = widths if len(widths) <= 8 else widths[:: -(-len(widths) // 8)]
    padding = 18 if any(row["line"] for row in rows) else 8
    x = alt.X("width:Q").title("width (channels)").scale(zero=False, padding=padding).axis(format="d", values=ticks)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=x,
        detail="line:N",
        color=alt.Color("kind:N").scale(domain=kinds, range=[var(kind.lower()) for kind in kinds]),
    )

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q").title("latency of one block (ms)").scale(zero=True, nice=True).axis(tickCount=4)

    tooltip = [
        alt.Tooltip("kind:N"),
        *([alt.Tooltip("line:N", title="expansion, heads")] if any(row["line"] for row in rows) else []),
        alt.Tooltip("width:Q"),
        alt.Tooltip("latency_ms:Q", title="ms", format=".3r"),
        alt.Tooltip("low:Q", title="from, ms", format=".3r"),
        alt.Tooltip("high:Q", title="to, ms", format=".3r"),
    ]
    dash = alt.StrokeDash("kind:N").scale(domain=kinds, range=[dash for _, dash in marks])
    shape = alt.Shape("kind:N").scale(domain=kinds, range=[mark for mark, _ in marks])
    label = base.mark_text(align="left", dx=6, fontSize=10.5).encode(y=y("latency_ms"), text="line:N")
    return alt.layer(
        base.mark_area(opacity=0.25).encode(y=y("low"), y2="high:Q"),
        base.mark_line(strokeWidth=1.6).encode(y=y("latency_ms"), strokeDash=dash),
        base.mark_point(filled=True, size=34, opacity=1).encode(y=y("latency_ms"), shape=shape, tooltip=tooltip),
        label.transform_filter(alt.datum.width == widths[-1]),
    )
