"""The two figures that tell the story: where networks lie between latency and accuracy, and how slimming got there."""

import math
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.report import wording
from efficientformer.report.load import NetworkRun, Run, load_run
from efficientformer.report.style import (
    Figure,
    LegendEntry,
    finish,
    rounded,
    series_color,
    series_shape,
    to_svg,
    var,
)

ACTION_MARKS = {
    "identity": (var("series-0"), "circle"),
    "remove_mb3d": (var("series-1"), "square"),
    "narrow": (var("series-2"), "triangle-up"),
}


def summary_figure(run_dir: Path) -> str:
    """The latency-accuracy plane of a run as SVG text, on light paper. Raises RecordError when the run has no trace."""
    run = load_run(run_dir)
    try:
        figure = plane(run)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise RecordError(f"The records of {run_dir} cannot be drawn ({error!r}). Make them again.") from error
    if figure is None:
        raise RecordError(f"{run_dir} has neither a slimming trace nor a measured network. Run `efficientformer slim`.")
    return to_svg(figure, width=680)


def network_title(network: NetworkRun) -> str:
    titles = [wording.budget_title(str(row["budget"]), row.get("budget_ms")) for row in network.budgets]
    return wording.join(titles) or network.slug


def plane(run: Run) -> Figure | None:
    """Latency against top-1: the slimming path as the supernet saw it, the trained networks as measured, the budgets."""
    import altair as alt

    path, networks, budgets = _path_rows(run), _network_rows(run), _budget_rows(run)
    if not path and not networks:
        return None
    layers: list[Any] = []
    legend = []
    if budgets:
        layers += _budget_layers(budgets)
        legend.append(LegendEntry("latency budget, in the color of its network", var("muted"), "line", (5, 4)))
    if path:
        layers += _path_layers(path, {**path[0], **_largest_measured(run)})
        legend.append(LegendEntry("slimming path: predicted latency, supernet accuracy", var("muted"), "line"))
        legend.append(LegendEntry("largest network: measured latency, supernet accuracy", var("ink"), "ring"))
    if networks:
        layers += _network_layers(networks)
        legend += [LegendEntry(f"trained for {row['network']}", row["color"], row["mark"]) for row in networks]
    return finish("plane", alt.layer(*layers), _plane_words(path, networks), 360, tuple(legend))


def slimming(run: Run) -> tuple[Figure, Figure] | None:
    """Latency and held-out top-1 after every slimming step, with the action taken."""
    rows = _path_rows(run)
    if not rows:
        return None
    actions = {row["action"] for row in rows}
    legend = tuple(
        LegendEntry(wording.ACTIONS[name], color, mark)
        for name, (color, mark) in ACTION_MARKS.items()
        if name in actions
    )
    budgets = [row for row in _budget_rows(run) if row.get("step") is not None]
    latency = _step_chart(rows, "latency_ms", "predicted latency (ms)", budgets)
    accuracy = _step_chart(rows, "top1", "held-out top-1 of the supernet (%)", budgets)
    first, last = rows[0], rows[-1]
    steps = f"over {len(rows) - 1} slimming steps, from {{}} to {{}}."
    latency_words = "Predicted latency " + steps.format(
        f"{wording.ms(first['latency_ms'])} ms", f"{wording.ms(last['latency_ms'])} ms"
    )
    accuracy_words = "Held-out top-1 " + steps.format(
        f"{wording.percent(first['top1'])} %", f"{wording.percent(last['top1'])} %"
    )
    return (
        finish("slimming-latency", latency, latency_words, 190, legend),
        finish("slimming-accuracy", accuracy, accuracy_words, 190),
    )


def _step_chart(rows: list[dict[str, Any]], field: str, title: str, budgets: list[dict[str, Any]]) -> Any:
    import altair as alt

    x = alt.X("step:Q").title("slimming step").axis(tickMinStep=1, format="d")
    y = alt.Y(f"{field}:Q").title(title).scale(zero=False, nice=True).axis(minExtent=34, tickCount=5)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    taken = base.transform_filter("datum.step > 0").encode(
        color=alt.Color("action:N").scale(
            domain=list(ACTION_MARKS), range=[color for color, _ in ACTION_MARKS.values()]
        ),
        shape=alt.Shape("action:N").scale(
            domain=list(ACTION_MARKS), range=[mark for _, mark in ACTION_MARKS.values()]
        ),
        tooltip=[
            alt.Tooltip("step:Q"),
            alt.Tooltip("what:N", title="action"),
            alt.Tooltip("latency_ms:Q", title="predicted ms"),
            alt.Tooltip("top1:Q", title="top-1 %", format=".2f"),
        ],
    )
    layers = [
        base.mark_line(interpolate="step-after", color=var("muted"), strokeWidth=1, opacity=0.7),
        taken.mark_point(filled=True, size=46, opacity=1),
    ]
    if budgets:
        chosen = alt.Chart(alt.Data(values=budgets)).encode(x="step:Q", color=alt.Color("color:N").scale(None))
        layers.insert(0, chosen.mark_rule(strokeDash=[5, 4], strokeWidth=1.3))
        layers.append(
            chosen.mark_text(align="left", baseline="top", dx=4, fontSize=11).encode(text="budget:N", y=alt.value(-2))
        )
    return alt.layer(*layers).resolve_scale(color="independent")


def _x(field: str) -> Any:
    import altair as alt

    return alt.X(f"{field}:Q").title("latency (ms)").scale(zero=False, nice=True, padding=12)


def _y(field: str) -> Any:
    import altair as alt

    return alt.Y(f"{field}:Q").title("top-1 (%)").scale(zero=False, nice=True, padding=8)


def _path_layers(path: list[dict[str, Any]], largest: dict[str, Any]) -> list[Any]:
    import altair as alt

    tooltip = [
        alt.Tooltip("what:N", title="slimming"),
        alt.Tooltip("latency_ms:Q", title="latency, ms"),
        alt.Tooltip("top1:Q", title="top-1 %, supernet", format=".2f"),
        alt.Tooltip("shape:N", title="network"),
    ]
    base = alt.Chart(alt.Data(values=path)).encode(x=_x("latency_ms"), y=_y("top1"))
    start = alt.Chart(alt.Data(values=[largest])).encode(x=_x("latency_ms"), y=_y("top1"), tooltip=tooltip)
    return [
        base.mark_line(color=var("muted"), strokeWidth=1.2, opacity=0.7).encode(order="step:Q"),
        base.mark_circle(color=var("muted"), size=26, opacity=1).encode(tooltip=tooltip),
        start.mark_point(color=var("ink"), shape="circle", size=110, strokeWidth=1.8, filled=False, opacity=1),
    ]


def _budget_layers(budgets: list[dict[str, Any]]) -> list[Any]:
    """A rule per budget; labels stand in two rows above the plot, so that neighbors do not collide."""
    import altair as alt

    base = alt.Chart(alt.Data(values=budgets)).encode(x=_x("latency_ms"), color=alt.Color("color:N").scale(None))
    tooltip = [alt.Tooltip("title:N", title="budget"), alt.Tooltip("latency_ms:Q", title="allowed ms")]
    labels = base.mark_text(align="center", baseline="bottom", fontSize=11)
    return [
        base.mark_rule(strokeDash=[5, 4], strokeWidth=1.3).encode(tooltip=tooltip),
        *(
            labels.transform_filter(f"datum.row == {row}").encode(text="label:N", y=alt.value(-3 - 14 * row))
            for row in sorted({budget["row"] for budget in budgets})
        ),
    ]


def _network_layers(networks: list[dict[str, Any]]) -> list[Any]:
    import altair as alt

    base = alt.Chart(alt.Data(values=networks)).encode(color=alt.Color("color:N").scale(None))
    tooltip = [
        alt.Tooltip("network:N", title="trained for"),
        alt.Tooltip("latency_ms:Q", title="measured p50, ms"),
        alt.Tooltip("interval:N", title="95 % interval, ms"),
        alt.Tooltip("predicted_ms:Q", title="predicted, ms"),
        alt.Tooltip("top1:Q", title="top-1 %", format=".2f"),
        alt.Tooltip("top1_interval:N", title="95 % interval, %"),
        alt.Tooltip("shape:N", title="network"),
    ]
    point = base.mark_point(filled=True, size=120, opacity=1, stroke=var("paper"), strokeWidth=1)
    return [
        base.mark_rule(strokeWidth=2).encode(x=_x("low_ms"), x2="high_ms:Q", y=_y("top1")),
        base.mark_rule(strokeWidth=1, opacity=0.8).encode(x=_x("latency_ms"), y=_y("low_top1"), y2="high_top1:Q"),
        point.encode(x=_x("latency_ms"), y=_y("top1"), shape=alt.Shape("mark:N").scale(None), tooltip=tooltip),
    ]


def _path_rows(run: Run) -> list[dict[str, Any]]:
    trace = run.get("trace")
    if trace is None:
        return []
    rows = [_path_row(0, "start", "the largest network", trace["start"])]
    before = trace["start"]["architecture"]
    for step in trace["steps"]:
        candidate = step["candidates"][step["taken"]]
        words = f"step {step['step']}: {wording.action(candidate, before, step['architecture'])}"
        rows.append(_path_row(step["step"], candidate["action"], words, step))
        before = step["architecture"]
    return rows


def _path_row(step: int, action: str, words: str, point: dict[str, Any]) -> dict[str, Any]:
    shape = wording.shape(point["architecture"])
    values = {"latency_ms": rounded(point["latency_ms"]), "top1": rounded(point["top1"])}
    return {"step": step, "action": action, "what": words, **values, "shape": shape}


def _largest_measured(run: Run) -> dict[str, Any]:
    largest = (run.get("verification") or {}).get("largest") or (run.get("table") or {}).get("largest")
    return {"latency_ms": rounded(largest["p50_ms"]), "what": "the largest network, measured"} if largest else {}


def _network_rows(run: Run) -> list[dict[str, Any]]:
    rows = []
    for index, network in enumerate(run.networks):
        evaluation = network.get("evaluation")
        measured = next((row for row in network.budgets if row.get("measured_p50_ms") is not None), None)
        if evaluation is None or measured is None:
            continue
        low, high = measured.get("measured_interval_ms") or (measured["measured_p50_ms"],) * 2
        low_top1, high_top1 = wilson(evaluation["top1"], evaluation["num_images"])
        rows.append(
            {
                "network": network_title(network),
                "latency_ms": rounded(measured["measured_p50_ms"]),
                "low_ms": rounded(low),
                "high_ms": rounded(high),
                "interval": wording.interval((low, high)),
                "predicted_ms": rounded(measured.get("predicted_ms")),
                "top1": rounded(evaluation["top1"]),
                "low_top1": rounded(low_top1),
                "high_top1": rounded(high_top1),
                "top1_interval": f"{low_top1:.1f}–{high_top1:.1f}",
                "shape": wording.shape(network.get("architecture")["architecture"]),
                "color": series_color(index),
                "mark": series_shape(index),
            }
        )
    return rows


def _budget_rows(run: Run) -> list[dict[str, Any]]:
    slugs = [network.slug for network in run.networks]
    steps = {row["budget"]: row.get("step") for row in (run.get("trace") or {}).get("budgets") or []}
    rows = []
    known = [row for row in run.promises() if row.get("budget_ms") is not None]
    for place, row in enumerate(sorted(known, key=lambda row: row["budget_ms"])):
        slug = row.get("slug")
        color = series_color(slugs.index(slug)) if slug in slugs else var("muted")
        title = wording.budget_title(str(row["budget"]), row["budget_ms"])
        rows.append(
            {
                "title": title,
                "budget": str(row["budget"]),
                "label": f"{wording.ms(row['budget_ms'])} ms",
                "latency_ms": rounded(row["budget_ms"]),
                "step": steps.get(row["budget"]),
                "row": place % 2,
                "color": color,
            }
        )
    return rows


def wilson(top1: float, num_images: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval, in percent, of an accuracy counted on so many images (Wilson's score interval)."""
    if num_images < 1:
        return 0.0, 100.0
    share = top1 / 100
    center = share + z * z / (2 * num_images)
    spread = z * math.sqrt(share * (1 - share) / num_images + z * z / (4 * num_images**2))
    scale = 100 / (1 + z * z / num_images)
    return max(0.0, scale * (center - spread)), min(100.0, scale * (center + spread))


def _plane_words(path: list[dict[str, Any]], networks: list[dict[str, Any]]) -> str:
    words = ["Latency in milliseconds against top-1 accuracy in percent."]
    if path:
        words.append(
            f"The slimming path runs from {wording.ms(path[0]['latency_ms'])} ms at {path[0]['top1']:.1f} % "
            f"to {wording.ms(path[-1]['latency_ms'])} ms at {path[-1]['top1']:.1f} %."
        )
    for row in networks:
        words.append(
            f"The network trained for {row['network']}: {wording.ms(row['latency_ms'])} ms, {row['top1']:.1f} %."
        )
    return " ".join(words)
