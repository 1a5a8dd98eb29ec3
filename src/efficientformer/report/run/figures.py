"""The main figure of a run: accuracy against latency of its networks."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.report import wording
from efficientformer.report.run.load import RECORDS, Run, load_run
from efficientformer.report.run.slimming_figures import (
    Rows,
    budget_labels,
    budget_rows,
    network_title,
    path_rows,
    title_y,
)
from efficientformer.report.style import Figure, LegendEntry, finish, rounded, series_color, series_shape, to_svg, var
from efficientformer.tasks.words import TaskWords

LARGEST = "largest network: predicted latency, supernet accuracy"
LARGEST_MEASURED = "largest network: measured latency, supernet accuracy"


def summary_figure(run_dir: Path) -> str:
    """The latency-accuracy plane of a run as SVG text, on light paper. Raises RecordError when the run has no trace."""
    run = load_run(run_dir)
    if problem := run.unreadable.get(RECORDS["trace"].path):
        raise RecordError(problem)
    try:
        figure = plane(run)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise RecordError(f"The records of {run_dir} cannot be drawn ({error!r}). Make them again.") from error
    if figure is None:
        raise RecordError(f"{run_dir} has no slimming trace and no measured network. Run `efficientformer slim`.")
    return to_svg(figure, width=680)


def plane(run: Run) -> Figure | None:
    """The task's score against latency: the slimming path with scores of the supernet, trained networks as measured,
    the budgets."""
    import altair as alt

    path, networks, budgets = path_rows(run), _network_rows(run), budget_rows(run)
    if not path and not networks:
        return None
    layers: list[Any] = []
    legend = []
    if budgets:
        layers += _budget_layers(budgets)
        legend.append(LegendEntry("latency budget, in the color of its network", var("muted"), "line", (5, 4)))
    if path:
        measured = _largest_measured(run)
        layers += _path_layers(path, {**path[0], **measured}, budgets, run.task)
        legend.append(LegendEntry("slimming path: predicted latency, supernet accuracy", var("muted"), "line"))
        legend.append(LegendEntry(LARGEST_MEASURED if measured else LARGEST, var("ink"), "ring"))
    if networks:
        layers += _network_layers(networks, budgets, run.task)
        legend += [LegendEntry(f"trained for {row['network']}", row["color"], row["mark"]) for row in networks]
    return finish("plane", alt.layer(*layers), _plane_words(path, networks, run.task), 360, tuple(legend))


def _x(field: str) -> Any:
    import altair as alt

    return alt.X(f"{field}:Q").title("latency (ms)").scale(zero=False, nice=True, padding=12).axis(tickCount=10)


def _y(field: str, budgets: Rows, task: TaskWords) -> Any:
    import altair as alt

    return (
        alt.Y(f"{field}:Q")
        .title(f"{task.title} (%)")
        .scale(zero=False, nice=True, padding=8)
        .axis(tickCount=6, titleY=title_y(budgets))
    )


def _path_layers(path: Rows, largest: dict[str, Any], budgets: Rows, task: TaskWords) -> list[Any]:
    import altair as alt

    tooltip = [
        alt.Tooltip("what:N", title="slimming"),
        alt.Tooltip("latency_ms:Q", title="latency, ms", format=".3r"),
        alt.Tooltip("score:Q", title=f"{task.title} %, supernet", format=".2f"),
        alt.Tooltip("shape:N", title="network"),
    ]
    place: dict[str, Any] = {"x": _x("latency_ms"), "y": _y("score", budgets, task)}
    base = alt.Chart(alt.Data(values=path)).encode(**place)
    start = alt.Chart(alt.Data(values=[largest])).encode(**place, tooltip=tooltip)
    return [
        base.mark_line(color=var("muted"), strokeWidth=1.2, opacity=0.7).encode(order="step:Q", detail="course:N"),
        base.mark_circle(color=var("muted"), size=26, opacity=1).encode(tooltip=tooltip),
        start.mark_point(color=var("ink"), shape="circle", size=110, strokeWidth=1.8, filled=False, opacity=1),
    ]


def _budget_layers(budgets: Rows) -> list[Any]:
    import altair as alt

    base = alt.Chart(alt.Data(values=budgets)).encode(x=_x("latency_ms"), color=alt.Color("color:N").scale(None))
    tooltip = [alt.Tooltip("title:N", title="budget"), alt.Tooltip("latency_ms:Q", title="allowed ms", format=".3r")]
    rule = base.mark_rule(strokeDash=[5, 4], strokeWidth=1.3).encode(tooltip=tooltip)
    return [rule, *budget_labels(base, budgets, "label")]


def _network_layers(networks: Rows, budgets: Rows, task: TaskWords) -> list[Any]:
    import altair as alt

    y = _y("score", budgets, task)
    base = alt.Chart(alt.Data(values=networks)).encode(color=alt.Color("color:N").scale(None))
    tooltip = [
        alt.Tooltip("network:N", title="trained for"),
        alt.Tooltip("latency_ms:Q", title="measured p50, ms", format=".3r"),
        alt.Tooltip("interval:N", title="interval, ms"),
        alt.Tooltip("predicted_ms:Q", title="predicted, ms", format=".3r"),
        alt.Tooltip("score:Q", title=f"{task.title} %", format=".2f"),
        alt.Tooltip("score_interval:N", title="95 % interval, %"),
        alt.Tooltip("shape:N", title="network"),
    ]
    point = base.mark_point(filled=True, size=120, opacity=1, stroke=var("paper"), strokeWidth=1)
    return [
        base.mark_rule(strokeWidth=2).encode(x=_x("low_ms"), x2="high_ms:Q", y=y),
        base.mark_rule(strokeWidth=1, opacity=0.8).encode(
            x=_x("latency_ms"), y=_y("low_score", budgets, task), y2="high_score:Q"
        ),
        point.encode(x=_x("latency_ms"), y=y, shape=alt.Shape("mark:N").scale(None), tooltip=tooltip),
    ]


def _largest_measured(run: Run) -> dict[str, Any]:
    largest = (run.get("verification") or {}).get("largest") or (run.get("table") or {}).get("largest")
    return {"latency_ms": rounded(largest["p50_ms"]), "what": "the largest network, measured"} if largest else {}


def _network_rows(run: Run) -> Rows:
    rows = []
    for index, network in enumerate(run.networks):
        evaluation, described = network.get("evaluation"), run.described(network)
        measured = next((row for row in network.budgets if row.get("measured_ms") is not None), None)
        if evaluation is None or measured is None:
            continue
        low, high = measured.get("measured_interval_ms") or (measured["measured_ms"],) * 2
        percent = wording.confidence(measured.get("interval_percent") or 95)
        score = evaluation[run.task.primary]
        low_score, high_score = score_interval(evaluation, run.task) or (score, score)
        rows.append(
            {
                "network": network_title(network),
                "latency_ms": rounded(measured["measured_ms"]),
                "low_ms": rounded(low),
                "high_ms": rounded(high),
                "interval": f"{wording.interval((low, high))} ({percent} %)",
                "predicted_ms": rounded(measured.get("predicted_ms")),
                "score": rounded(score),
                "low_score": rounded(low_score),
                "high_score": rounded(high_score),
                "score_interval": wording.span(f"{low_score:.1f}", f"{high_score:.1f}")
                if low_score < high_score
                else wording.ABSENT,
                "shape": wording.shape(described["architecture"]) if described else wording.ABSENT,
                "color": series_color(index),
                "mark": series_shape(index),
            }
        )
    return rows


def is_uneven(evaluation: Mapping[str, Any]) -> bool:
    """Whether the classes have different numbers of validation images."""
    return len({row["num_images"] for row in evaluation.get("per_class", [])}) > 1


def balanced_accuracy(evaluation: Mapping[str, Any]) -> float | None:
    """Mean top-1 of the classes that have images, also of a record without it; None where no class is known."""
    recalls = [row["top1"] for row in evaluation.get("per_class", []) if row.get("top1") is not None]
    return evaluation.get("balanced_accuracy", sum(recalls) / len(recalls) if recalls else None)


def score_interval(evaluation: Mapping[str, Any], task: TaskWords) -> tuple[float, float] | None:
    """95 % interval of the score of an evaluation, in percent; None for a score that is no share of the images."""
    return wilson(evaluation[task.primary], evaluation["num_images"]) if task.is_share else None


def wilson(top1: float, num_images: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of an accuracy measured on `num_images` images, in percent (Wilson's score interval)."""
    if num_images < 1:
        return 0.0, 100.0
    share = top1 / 100
    center = share + z * z / (2 * num_images)
    spread = z * math.sqrt(share * (1 - share) / num_images + z * z / (4 * num_images**2))
    scale = 100 / (1 + z * z / num_images)
    return max(0.0, scale * (center - spread)), min(100.0, scale * (center + spread))


def _plane_words(path: Rows, networks: Rows, task: TaskWords) -> str:
    words = [f"{task.long_title} in percent against latency in milliseconds."]
    if path:
        words.append(
            f"The slimming path runs from {wording.ms(path[0]['latency_ms'])} ms at {path[0]['score']:.1f} % "
            f"to {wording.ms(path[-1]['latency_ms'])} ms at {path[-1]['score']:.1f} %."
        )
    for row in networks:
        words.append(
            f"The network trained for {row['network']}: {wording.ms(row['latency_ms'])} ms, {row['score']:.1f} %."
        )
    return " ".join(words)
