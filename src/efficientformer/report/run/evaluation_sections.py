"""Sections on the validation images: scores of networks and classes, confusions, the best and the worst images."""

import base64
from pathlib import Path
from typing import Any

from efficientformer.report.class_scores import AMOUNTS, amount_of
from efficientformer.report.frame import Note
from efficientformer.report.run import heatmaps, training_figures
from efficientformer.report.run.figures import balanced_accuracy, score_interval
from efficientformer.report.run.load import NetworkRun, Run
from efficientformer.report.run.slimming_figures import network_title
from efficientformer.run_dir import RunDir
from efficientformer.tasks.words import TaskWords

Content = dict[str, Any]
SHORT_LIST = 24  # longer tables of classes are collapsed
MOST_BYTES = 1 << 20
JPEG = b"\xff\xd8\xff"


def evaluation(run: Run) -> Content:
    """Scores by network and by class, and confusions."""
    names = (run.get("data") or {}).get("classes")
    networks = [_evaluated(index, network, names, run.task) for index, network in enumerate(run.networks)]
    notes = run.network_notes("evaluation") if run.networks else [run.note("result")]
    known = [network for network in networks if network]
    return {
        "task": run.task,
        "classes": training_figures.class_accuracy(run.networks, run.task),
        "reliability": training_figures.reliability(run.networks),
        "num_classes": max((len(network["record"]["per_class"]) for network in known), default=0),
        "num_hardest": training_figures.NUM_HARDEST,
        "max_classes": heatmaps.MAX_CLASSES,
        "networks": known,
        "by_class": _by_class(known, run.task),
        "notes": notes,
    }


def _evaluated(index: int, network: NetworkRun, names: list[str] | None, task: TaskWords) -> Content | None:
    record = network.get("evaluation")
    if record is None:
        return None
    classes = [row["name"] for row in record["per_class"]] or names or []
    matrix = record.get("confusion") or []
    return {
        "title": network_title(network),
        "series": index,
        "record": record,
        "score": record[task.primary],
        "interval": score_interval(record, task),
        "further": further_scores(record, task),
        "figure": heatmaps.confusion(network.slug, classes, matrix, task.confusable) if matrix else None,
        "confused": heatmaps.most_confused(classes, matrix) if matrix else [],
    }


def further_scores(record: Content, task: TaskWords) -> list[float | None]:
    """Values of the task's further scores, in their order."""
    return [balanced_accuracy(record) if name == "balanced_accuracy" else record.get(name) for name in task.further]


def _by_class(networks: list[Content], task: TaskWords) -> Content | None:
    """A row for each class of a task whose labels lie in the images: how much there is of it, and its scores."""
    rows = networks[0]["record"]["per_class"] if networks else []
    amount = amount_of(rows)
    if amount is None:
        return None
    total, most = sum(row[amount] for row in rows) or 1, max(row[amount] for row in rows) or 1
    scores = [[(row[task.of_class], row.get("accuracy")) for row in each["record"]["per_class"]] for each in networks]
    return {
        "amount": AMOUNTS[amount],
        "has_accuracy": "accuracy" in rows[0],
        "is_short": len(rows) <= SHORT_LIST,
        "rows": [
            {
                "name": row["name"],
                "amount": row[amount],
                "percent": 100 * row[amount] / total,
                "bar": 100 * row[amount] / most,
                "num_images": row["num_images"],
                "scores": [of_network[place] for of_network in scores if place < len(of_network)],
            }
            for place, row in enumerate(rows)
        ],
    }


def examples(run: Run) -> Content:
    """Drawings of the best and the worst images of every network."""
    notes, shown = run.network_notes("examples"), []
    for index, network in enumerate(run.networks):
        record = network.get("examples")
        if record is None:
            continue
        folder = RunDir(run.run_dir).network(network.slug).examples.parent
        groups = [(title, [_example(folder, row) for row in record[title]]) for title in ("best", "worst")]
        lost = sum(None in row["drawings"] for _, rows in groups for row in rows)
        if lost:
            text = f"The drawings of {lost} images of networks/{network.slug} are missing or damaged."
            notes.append(Note(f"{text} Delete {folder.name}/examples.json to have them made again.", ""))
        look = {"title": network_title(network), "series": index, "classes": record["classes"]}
        shown.append({**look, "groups": groups, "num_images": record["num_images"]})
    return {"networks": shown, "task": run.task, "notes": notes}


def _example(folder: Path, row: Content) -> Content:
    return {**row, "drawings": [_embedded(folder / name) for name in row["drawings"]]}


def _embedded(path: Path) -> Any:
    """A JPEG file as an address that contains it; None for anything else."""
    from markupsafe import Markup

    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(content).decode()}") if content[:3] == JPEG else None
