"""Tables of evaluations for the console: scores, or scores by class where labels lie in the images."""

from collections.abc import Mapping, Sequence
from typing import Any

from efficientformer.report.wording import percent
from efficientformer.tasks.words import words_of

AMOUNTS = {"num_pixels": "pixels", "num_boxes": "objects"}
"""What there is of a class in the images, by its name in records."""

LIKELIHOOD = "negative_log_likelihood"


def amount_of(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The name of what rows of classes count; None for a task whose labels do not lie in the images."""
    return next((name for name in AMOUNTS if rows and name in rows[0]), None)


def evaluation_table(evaluations: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: `class_table` of a task that has one, else a row of scores for each network, by its title."""
    columns, rows = class_table(evaluations)
    return (columns, rows) if rows or not evaluations else _score_table(evaluations)


def _score_table(evaluations: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    records = list(evaluations.values())
    words = words_of(records[0])
    titles = {words.primary: words.title, **words.further}
    shown = {name: title for name, title in titles.items() if any(name in record for record in records)}
    has_likelihood = any(LIKELIHOOD in record for record in records)
    columns = ["network", *(f"{title} %" for title in shown.values()), *(["NLL"] if has_likelihood else []), "images"]
    return columns, [
        [
            title,
            *(percent(record.get(name)) for name in shown),
            *([percent(record.get(LIKELIHOOD), 3)] if has_likelihood else []),
            f"{record['num_images']:,}",
        ]
        for title, record in evaluations.items()
    ]


def class_table(evaluations: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows, of evaluations of the same classes by the title of their network; no rows for other tasks."""
    records = list(evaluations.values())
    rows = records[0]["per_class"] if records else []
    amount = amount_of(rows)
    if amount is None:
        return [], []
    words = words_of(records[0])
    scores = {words.of_class: words.class_title, **({"accuracy": "accuracy"} if "accuracy" in rows[0] else {})}
    behind = [""] if len(evaluations) == 1 else [f", {title}" for title in evaluations]
    columns = ["class", AMOUNTS[amount], "images"]
    columns += [f"{title} %{network}" for network in behind for title in scores.values()]
    return columns, [
        [row["name"], f"{row[amount]:,}", f"{row['num_images']:,}"]
        + [percent(record["per_class"][place][name]) for record in records for name in scores]
        for place, row in enumerate(rows)
    ]
