"""The result of a run: one entry per budget, from records alone. No torch."""

from pathlib import Path
from typing import Any

from efficientformer.arch.cost import network_cost
from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.spec import Architecture
from efficientformer.formats.network import EVALUATION_MIB, ArchitectureFile, Evaluation
from efficientformer.formats.run import Verification
from efficientformer.formats.shortlist import PublishedFigures, PublishedRecord
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir
from efficientformer.tasks.words import words_of

PROMISED = (
    *("budget", "slug", "budget_ms", "predicted_ms", "measured_p50_ms"),
    *("percentile", "measured_ms", "measured_interval_ms", "interval_percent", "sessions"),
    *("limits", "kept"),
)


def scores_of(evaluation: Evaluation) -> dict[str, float]:
    """The scores of a network that results show; records of earlier versions have top-1 alone."""
    primary = words_of(evaluation).primary
    scores: dict[str, float] = {primary: evaluation[primary]}
    if "balanced_accuracy" in evaluation:
        scores["balanced_accuracy"] = evaluation["balanced_accuracy"]
    return scores


def collect_result(run_dir: RunDir) -> list[dict[str, Any]]:
    """The output of `design --json`; also written to `result.json`."""
    result = []
    published = _published(run_dir)
    for promise in read_record(run_dir.verification, Verification)["promises"]:
        files = run_dir.network(promise["slug"])
        built = read_record(files.architecture, ArchitectureFile)
        architecture = Architecture.from_json(built["architecture"])
        evaluation = read_record(files.evaluation, Evaluation, most_mib=EVALUATION_MIB)
        cost = network_cost(architecture, grid_of_input(built["resolution"]), built["num_classes"])
        result.append(
            {
                **{name: promise[name] for name in PROMISED if name in promise},
                **scores_of(evaluation),
                "num_params": cost.num_params,
                "macs": cost.macs,
                "architecture": built["architecture"],
                "onnx": str(Path(files.onnx)),
                **({"published": published[promise["slug"]]} if promise["slug"] in published else {}),
            }
        )
    write_record(run_dir.result, result)
    return result


def _published(run_dir: RunDir) -> dict[str, PublishedFigures | None]:
    """By the folder of a budget's network, the best published network within that budget."""
    if not run_dir.published.exists():  # verified by an earlier version
        return {}
    return {row["slug"]: row["best"] for row in read_record(run_dir.published, PublishedRecord)["rows"]}
