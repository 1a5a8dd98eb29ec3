"""The result of a run: one entry per budget, from records alone. No torch."""

from pathlib import Path
from typing import Any, cast

from efficientformer.arch.cost import network_cost
from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.spec import Architecture
from efficientformer.formats.network import EVALUATION_MIB, ArchitectureFile, Evaluation, ExportRecord
from efficientformer.formats.reference import ReferenceMeasured, ReferenceResult
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
    verification = read_record(run_dir.verification, Verification)
    published, references = _published(run_dir), _references(run_dir, verification)
    for promise in verification["promises"]:
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
                **({"reference": references.get(promise["slug"])} if run_dir.references.exists() else {}),
            }
        )
    write_record(run_dir.result, result)
    return result


def _published(run_dir: RunDir) -> dict[str, PublishedFigures | None]:
    """By the folder of a budget's network, the best published network within that budget."""
    if not run_dir.published.exists():  # verified by an earlier version
        return {}
    return {row["slug"]: row["best"] for row in read_record(run_dir.published, PublishedRecord)["rows"]}


def _references(run_dir: RunDir, verification: Verification) -> dict[str, ReferenceResult]:
    """By the folder of a budget's network, the published network that was fine-tuned for the budget."""
    return {row["slug"]: _reference(run_dir, row) for row in verification.get("references", [])}


def _reference(run_dir: RunDir, row: ReferenceMeasured) -> ReferenceResult:
    files = run_dir.reference(row["name"])
    evaluation = read_record(files.evaluation, Evaluation, most_mib=EVALUATION_MIB)
    if files.architecture.exists():
        built = read_record(files.architecture, ArchitectureFile)
        architecture = Architecture.from_json(built["architecture"])
        cost = network_cost(architecture, grid_of_input(built["resolution"]), built["num_classes"])
        num_params, macs = cost.num_params, cost.macs
    else:
        exported = read_record(files.export_record, ExportRecord)
        num_params, macs = exported.get("num_params", 0), exported.get("macs")
    measured = {name: value for name, value in row.items() if name not in ("budget", "slug", "budget_ms")}
    scores = {**scores_of(evaluation), "num_images": evaluation["num_images"]}
    if "top5" in evaluation:
        scores["top5"] = evaluation["top5"]
    costs = {"num_params": num_params, "macs": macs}
    return cast(ReferenceResult, {**measured, **scores, **costs, "onnx": str(Path(files.onnx))})
