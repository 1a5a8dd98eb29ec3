"""Figures of training: loss and accuracy over steps, accuracy by class and by confidence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from efficientformer.report import wording
from efficientformer.report.run.heatmaps import MAX_CLASSES, unique_names
from efficientformer.report.run.load import NetworkRun
from efficientformer.report.run.slimming_figures import network_title
from efficientformer.report.style import (
    Figure,
    LegendEntry,
    finish,
    rounded,
    series_color,
    series_dash,
    series_shape,
    var,
)
from efficientformer.tasks.words import CLASSIFICATION, TaskWords

MAX_POINTS = 150
NUM_HARDEST = 24
SMALLEST_MARK, LARGEST_MARK = 10, 400
"""Areas of the marks of a bin with few images, and of one with all, in square pixels."""


def network_legend(networks: Sequence[NetworkRun]) -> tuple[LegendEntry, ...]:
    """The evaluated networks, with their color and shape, which are the same in all figures."""
    return tuple(
        LegendEntry(network_title(network), series_color(index), series_shape(index))
        for index, network in enumerate(networks)
        if network.get("evaluation")
    )


def supernet_curve(metrics: Iterable[Mapping[str, Any]]) -> Figure | None:
    """Training loss of the supernet over steps."""
    rows = _thin([{**row, "name": "supernet", "color": var("muted"), "dash": [1, 0]} for row in metrics], "loss")
    if not rows:
        return None
    words = f"Training loss of the supernet, from {rows[0]['loss']:.2f} to {rows[-1]['loss']:.2f}."
    return finish("supernet-loss", _curve(rows, "loss", "training loss", points=False), words, 200)


def network_curve(networks: Sequence[NetworkRun], field: str, title: str) -> Figure | None:
    """One metric of every trained network over steps."""
    rows = []
    for index, network in enumerate(networks):
        look = {"name": network_title(network), "color": series_color(index), "dash": series_dash(index)}
        rows += _thin([{**row, **look} for row in network.metrics], field)
    if not rows:
        return None
    lasts = {row["name"]: row[field] for row in rows}
    words = f"{title} by training step; at the end " + wording.join([f"{n}: {v:.2f}" for n, v in lasts.items()]) + "."
    legend = tuple(
        LegendEntry(network_title(network), series_color(index), "line", tuple(series_dash(index)))
        for index, network in enumerate(networks)
        if network_title(network) in lasts
    )
    return finish(f"networks-{field}", _curve(rows, field, title, points=field != "loss"), words, 200, legend)


def class_accuracy(networks: Sequence[NetworkRun], task: TaskWords = CLASSIFICATION) -> Figure | None:
    """The score of every class, one mark per network; only the hardest classes when there are many."""
    import altair as alt

    rows = []
    for index, network in enumerate(networks):
        for place, row in enumerate((network.get("evaluation") or {}).get("per_class") or []):
            look = {"color": series_color(index), "mark": series_shape(index), "network": network_title(network)}
            if row[task.of_class] is None:  # a class without images
                continue
            values = {"score": rounded(row[task.of_class]), "num_images": row["num_images"]}
            rows.append({"place": place, "name": row["name"], **values, **look})
    if not rows:
        return None
    labels = unique_names(next(names for names in map(_class_names, networks) if names))
    by_place: dict[int, list[float]] = {}
    for row in rows:
        by_place.setdefault(row["place"], []).append(row["score"])
    hardest = sorted(by_place, key=lambda place: sum(by_place[place]) / len(by_place[place]))
    hardest = hardest if len(hardest) <= MAX_CLASSES else hardest[:NUM_HARDEST]
    rows = [{**row, "name": labels[row["place"]]} for row in rows if row["place"] in hardest]
    lowest = min(99.0, *(row["score"] for row in rows))
    x = (
        alt.X("score:Q")
        .title(f"{task.class_title} of the class (%)")
        .scale(domain=[max(0, 10 * ((lowest - 2) // 10)), 100])
        .axis(grid=True, tickCount=6)
    )
    y = alt.Y("name:N").title(None).sort([labels[place] for place in hardest]).axis(grid=True, labelLimit=110)
    y = y.scale(paddingInner=0.4, paddingOuter=0.3)
    tooltip = [
        alt.Tooltip("name:N", title="class"),
        alt.Tooltip("network:N", title="trained for"),
        alt.Tooltip("score:Q", title=f"{task.class_title} %", format=".1f"),
        alt.Tooltip("num_images:Q", title="images"),
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, size=44, opacity=1)
    dodge = alt.YOffset("network:N").sort(list(dict.fromkeys(row["network"] for row in rows)))
    chart = chart.encode(
        x=x,
        y=y,
        yOffset=dodge,
        color=alt.Color("color:N").scale(None),
        shape=alt.Shape("mark:N").scale(None),
        tooltip=tooltip,
    )
    what = task.class_title.capitalize()
    words = f"{what} of {len(hardest)} of {len(by_place)} classes; the hardest is {labels[hardest[0]]}."
    return finish("classes", chart, words, 28 * len(hardest), network_legend(networks))


def reliability(networks: Sequence[NetworkRun]) -> Figure | None:
    """Top-1 against confidence of the images of every bin of confidence, over the diagonal of a calibrated network."""
    import altair as alt

    rows = []
    for index, network in enumerate(networks):
        look = {"color": series_color(index), "mark": series_shape(index), "network": network_title(network)}
        bins = (network.get("evaluation") or {}).get("calibration") or []
        num_images = sum(row["num_images"] for row in bins)
        for row in (row for row in bins if row["num_images"]):
            values = {name: rounded(row[name]) for name in ("confidence", "top1")}
            area = round(SMALLEST_MARK + LARGEST_MARK * row["num_images"] / num_images)
            rows.append({**values, "num_images": row["num_images"], "area": area, **look})
    if not rows:
        return None
    diagonal = alt.Chart(alt.Data(values=[{"confidence": 0, "top1": 0}, {"confidence": 100, "top1": 100}]))
    x = alt.X("confidence:Q").title("confidence (%)").scale(domain=[0, 100])
    y = alt.Y("top1:Q").title("top-1 (%)").scale(domain=[0, 100])
    tooltip = [
        alt.Tooltip("network:N", title="trained for"),
        alt.Tooltip("confidence:Q", title="mean confidence, %", format=".1f"),
        alt.Tooltip("top1:Q", title="top-1 %", format=".1f"),
        alt.Tooltip("num_images:Q", title="images"),
    ]
    color, shape = alt.Color("color:N").scale(None), alt.Shape("mark:N").scale(None)
    area = alt.Size("area:Q").scale(None)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=color)
    chart = alt.layer(
        diagonal.mark_line(color=var("muted"), strokeWidth=1, strokeDash=[4, 4]).encode(x=x, y=y),
        base.mark_line(strokeWidth=1.2).encode(detail="network:N"),
        base.mark_point(filled=True, opacity=1).encode(
            shape=shape, size=alt.Size("area:Q").scale(None), tooltip=tooltip
        ),
    )
    words = f"Top-1 by confidence, of {wording.join(sorted({row['network'] for row in rows}))}."
    return finish("reliability", chart, words, 240, network_legend(networks))


def _class_names(network: NetworkRun) -> list[str]:
    return [row["name"] for row in (network.get("evaluation") or {}).get("per_class") or []]


def _curve(rows: list[dict[str, Any]], field: str, title: str, *, points: bool) -> Any:
    import altair as alt

    tooltip = [
        alt.Tooltip("name:N", title="network"),
        alt.Tooltip("step:Q"),
        alt.Tooltip("epoch:Q", format=".1f"),
        alt.Tooltip(f"{field}:Q", title=title, format=".3f"),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("step:Q").title("training step").axis(format=",d", tickCount=6, tickMinStep=1),
        y=alt.Y(f"{field}:Q").title(title).scale(zero=False, nice=True).axis(minExtent=30, tickCount=5),
        color=alt.Color("color:N").scale(None),
        detail="name:N",
    )
    # Wide, invisible marks catch the pointer, so that a thin line shows its values.
    line = base.mark_line(strokeWidth=1.6).encode(strokeDash=alt.StrokeDash("dash:N").scale(None))
    dots = base.mark_circle(size=26 if points else 60, opacity=1 if points else 0).encode(tooltip=tooltip)
    return alt.layer(line, dots)


def _thin(rows: Iterable[Mapping[str, Any]], field: str) -> list[dict[str, Any]]:
    """At most MAX_POINTS rows with `field`: means over neighboring rows, at the last step of each group."""
    present = [row for row in rows if row.get(field) is not None]
    size = -(-len(present) // MAX_POINTS) or 1
    thinned = []
    for start in range(0, len(present), size):
        chunk = present[start : start + size]
        mean = sum(row[field] for row in chunk) / len(chunk)
        last = {key: chunk[-1].get(key) for key in ("name", "step", "epoch", "color", "dash")}
        thinned.append({**last, "epoch": rounded(last["epoch"]), field: rounded(mean)})
    return thinned
