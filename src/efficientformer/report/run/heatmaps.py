"""Heat maps: the path probabilities of a supernet, and the confusion matrix of a network."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from efficientformer.report.style import Figure, finish, rounded, var

MAX_CLASSES = 40  # beyond this many classes a matrix or a list is no longer a figure
MAX_LABELED_BLOCKS = 16
CHOICES = ("MB4D", "MB3D", "FFN", "AttnFFN", "identity")


def alphas(stages: Sequence[Sequence[dict[str, float]]]) -> Figure:
    """Probability of each path for every block of every stage, in percent."""
    import altair as alt

    rows = []
    for stage, blocks in enumerate(stages, start=1):
        for block, probabilities in enumerate(blocks, start=1):
            for choice in CHOICES:
                share = probabilities.get(choice)
                if share is not None:
                    where = {"place": f"{stage}.{block}", "stage": stage, "block": block, "choice": choice}
                    rows.append({**where, "share": rounded(share, 3), "label": f"{100 * share:.0f}"})
    places = list(dict.fromkeys(row["place"] for row in rows))
    x = alt.X("place:O").title("stage.block").sort(places).axis(labelAngle=0, ticks=False)
    y = (
        alt.Y("choice:N")
        .title(None)
        .sort([choice for choice in CHOICES if any(row["choice"] == choice for row in rows)])
    )
    tooltip = [
        alt.Tooltip("stage:Q"),
        alt.Tooltip("block:Q"),
        alt.Tooltip("choice:N", title="path"),
        alt.Tooltip("share:Q", title="probability", format=".1%"),
    ]
    chart = _heat(rows, x, y, tooltip, labeled=len(places) <= MAX_LABELED_BLOCKS)
    return finish("alphas", chart, f"Probability of each path for {len(places)} blocks, in percent.", 110)


def confusion(
    slug: str, classes: Sequence[str], matrix: Sequence[Sequence[int]], counted: str = "images"
) -> Figure | None:
    """Fraction of each true class (rows) predicted as each class (columns); None beyond MAX_CLASSES classes.

    counted: what the matrix counts."""
    import altair as alt

    if len(classes) > MAX_CLASSES:
        return None
    names = unique_names(classes)
    font_size = 11 if len(names) <= 20 else 9
    rows = []
    for truth, counts in zip(names, matrix, strict=True):
        total = sum(counts)
        for guess, number in zip(names, counts, strict=True):
            if number:
                values = {"num": number, "share": rounded(number / total, 3), "label": f"{100 * number / total:.0f}"}
                rows.append({"truth": truth, "guess": guess, **values})
    x = alt.X("guess:N").title("predicted class").scale(domain=names)
    x = x.axis(labelAngle=-90, labelLimit=80, labelOverlap=False, ticks=False, labelFontSize=font_size)
    y = alt.Y("truth:N").title("true class").scale(domain=names).axis(labelLimit=80, labelFontSize=font_size)
    tooltip = [
        alt.Tooltip("truth:N", title="true class"),
        alt.Tooltip("guess:N", title="predicted class"),
        alt.Tooltip("num:Q", title=counted, format=",d"),
        alt.Tooltip("share:Q", title="of the true class", format=".1%"),
    ]
    right = sum(counts[place] for place, counts in enumerate(matrix))
    words = (
        f"Confusion matrix of {len(names)} classes; {right} of {sum(map(sum, matrix))} {counted} are on the diagonal."
    )
    return finish(
        f"confusion-{slug}", _heat(rows, x, y, tooltip, labeled=len(names) <= 12), words, max(260, 12 * len(names))
    )


def most_confused(classes: Sequence[str], matrix: Sequence[Sequence[int]], limit: int = 8) -> list[dict[str, Any]]:
    """The most frequent confusions, as rows {truth, guess, num, share_percent}; the share is of the true class."""
    pairs = []
    for truth, counts in enumerate(matrix):
        total = sum(counts)
        for guess, number in enumerate(counts):
            if number and guess != truth:
                row = {"truth": classes[truth], "guess": classes[guess], "num": number}
                pairs.append({**row, "share_percent": 100 * number / total})
    return sorted(pairs, key=lambda row: (-row["num"], -row["share_percent"]))[:limit]


def unique_names(names: Sequence[str]) -> list[str]:
    """Names for an axis: duplicates are numbered, because an axis would merge them."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _heat(rows: list[dict[str, Any]], x: Any, y: Any, tooltip: list[Any], *, labeled: bool) -> Any:
    """Cells with opacity `share` and their numbers in a readable color."""
    import altair as alt

    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    opacity = alt.FillOpacity("share:Q").scale(domain=[0, 1], range=[0.04, 1])
    cells = base.mark_rect(fill=var("heat"), cornerRadius=3, stroke=var("paper"), strokeWidth=2).encode(
        fillOpacity=opacity, tooltip=tooltip
    )
    if not labeled:
        return alt.layer(cells)
    fill = alt.condition("datum.share > 0.55", alt.value(var("paper")), alt.value(var("ink")))
    numbers = base.mark_text(fontSize=10.5, aria=False).encode(text="label:N", fill=fill)
    return alt.layer(cells, numbers.encode(tooltip=tooltip))
