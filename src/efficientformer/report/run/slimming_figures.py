"""Figures of the slimming path: its networks, the budgets, latency and accuracy after every step."""

from typing import Any

from efficientformer.formats.slimming import states_before
from efficientformer.report import wording
from efficientformer.report.run.load import NetworkRun, Run
from efficientformer.report.style import Figure, LegendEntry, finish, rounded, series_color, var

Rows = list[dict[str, Any]]
LABEL_HEIGHT = 14
ACTION_MARKS = {
    "identity": (var("series-0"), "circle"),
    "swap": (var("series-1"), "square"),
    "narrow": (var("series-2"), "triangle-up"),
    "exchange": (var("series-3"), "diamond"),
    "contract": (var("series-4"), "triangle-down"),
    "prune": (var("series-5"), "cross"),
    "narrow_fpn": (var("series-0"), "triangle-up"),
    "narrow_head": (var("series-1"), "triangle-up"),
    "shorten_head": (var("series-3"), "triangle-up"),
}


def slimming(run: Run) -> tuple[Figure, Figure] | None:
    """Latency and held-out score after every slimming step, with the action taken."""
    rows = path_rows(run)
    if not rows:
        return None
    actions = {row["action"] for row in rows}
    legend = tuple(
        LegendEntry(wording.ACTIONS[name], color, mark)
        for name, (color, mark) in ACTION_MARKS.items()
        if name in actions
    )
    budgets = [row for row in budget_rows(run) if row.get("step") is not None]
    title = run.task.title
    latency = _step_chart(rows, "latency_ms", "predicted latency (ms)", budgets, title, labeled=True)
    accuracy = _step_chart(rows, "score", f"held-out {title} of the supernet (%)", budgets, title, labeled=False)
    first, last = rows[0], rows[-1]
    steps = f"over {len(rows) - 1} slimming steps, from {{}} to {{}}."
    latency_words = "Predicted latency " + steps.format(
        f"{wording.ms(first['latency_ms'])} ms", f"{wording.ms(last['latency_ms'])} ms"
    )
    accuracy_words = f"Held-out {title} " + steps.format(
        f"{wording.percent(first['score'])} %", f"{wording.percent(last['score'])} %"
    )
    return (
        finish("slimming-latency", latency, latency_words, 190, legend),
        finish("slimming-accuracy", accuracy, accuracy_words, 190),
    )


def network_title(network: NetworkRun) -> str:
    titles = [wording.budget_title(str(row["budget"]), row.get("budget_ms")) for row in network.budgets]
    return wording.join(titles) or network.slug


def path_rows(run: Run) -> Rows:
    """One row per network of the path, starting with the largest."""
    trace = run.get("trace")
    if trace is None:
        return []
    rows = [_path_row(0, "start", "the largest network", trace["start"], 0, run.task.primary)]
    course = 0
    for step, before in zip(trace["steps"], states_before(trace), strict=True):
        course += "after" in step
        candidate = step["candidates"][step["taken"]]
        words = f"step {step['step']}: {wording.action(candidate, before['architecture'], step['architecture'])}"
        rows.append(_path_row(step["step"], candidate["action"], words, step, course, run.task.primary))
    return rows


def budget_rows(run: Run) -> Rows:
    """One row per budget in milliseconds, in ascending order, with the color of its network."""
    slugs = [network.slug for network in run.networks]
    steps = {row["budget"]: row.get("step") for row in (run.get("trace") or {}).get("budgets") or []}
    rows = []
    known = [row for row in run.promises() if row.get("budget_ms") is not None]
    num_label_rows = 2 if len(known) <= 4 else 3
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
                "row": place % num_label_rows,
                "color": color,
            }
        )
    return rows


def _path_row(step: int, action: str, words: str, point: dict[str, Any], course: int, primary: str) -> dict[str, Any]:
    shape = wording.shape(point["architecture"])
    values = {"latency_ms": rounded(point["latency_ms"]), "score": rounded(point[primary])}
    return {"step": step, "action": action, "what": words, **values, "shape": shape, "course": course}


def _step_chart(rows: Rows, field: str, title: str, budgets: Rows, score_title: str, *, labeled: bool) -> Any:
    import altair as alt

    x = alt.X("step:Q").title("slimming step").scale(nice=False, padding=18).axis(tickMinStep=1, format="d")
    y = alt.Y(f"{field}:Q").title(title).scale(zero=False, nice=True)
    y = y.axis(minExtent=34, tickCount=5, titleY=title_y(budgets if labeled else []))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    taken = base.transform_filter("datum.step > 0").encode(
        color=alt.Color("action:N").scale(
            domain=list(ACTION_MARKS), range=[color for color, _ in ACTION_MARKS.values()]
        ),
        shape=alt.Shape("action:N").scale(domain=list(ACTION_MARKS), range=[mark for _, mark in ACTION_MARKS.values()]),
        tooltip=[
            alt.Tooltip("step:Q"),
            alt.Tooltip("what:N", title="action"),
            alt.Tooltip("latency_ms:Q", title="predicted ms", format=".3r"),
            alt.Tooltip("score:Q", title=f"{score_title} %", format=".2f"),
        ],
    )
    layers = [
        base.encode(detail="course:N").mark_line(
            interpolate="step-after", color=var("muted"), strokeWidth=1, opacity=0.7
        ),
        taken.mark_point(filled=True, size=46, opacity=1),
    ]
    if budgets:
        chosen = alt.Chart(alt.Data(values=budgets)).encode(x="step:Q", color=alt.Color("color:N").scale(None))
        layers.insert(0, chosen.mark_rule(strokeDash=[5, 4], strokeWidth=1.3))
        layers += budget_labels(chosen, budgets, "budget") if labeled else []
    return alt.layer(*layers).resolve_scale(color="independent")


def budget_labels(base: Any, budgets: Rows, field: str) -> list[Any]:
    """Labels of the budget lines, in rows above the plot, so that they do not overlap."""
    import altair as alt

    labels = base.mark_text(align="center", baseline="bottom", fontSize=11)
    return [
        labels.transform_filter(f"datum.row == {row}").encode(text=f"{field}:N", y=alt.value(-3 - LABEL_HEIGHT * row))
        for row in sorted({budget["row"] for budget in budgets})
    ]


def title_y(budgets: Rows) -> int:
    """Position of the title of the y axis, above the labels of the budgets."""
    return -12 - LABEL_HEIGHT * len({budget["row"] for budget in budgets})
