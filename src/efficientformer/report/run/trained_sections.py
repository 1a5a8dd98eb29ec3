"""The headline of a training without a search: scores and latencies of the networks."""

from typing import Any

from efficientformer.arch.cost import network_cost
from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.spec import Architecture
from efficientformer.report import wording
from efficientformer.report.run.evaluation_sections import further_scores
from efficientformer.report.run.load import NetworkRun, Run
from efficientformer.report.run.result_sections import exported_file
from efficientformer.report.run.slimming_figures import network_title

Content = dict[str, Any]
MOST_SCORES = 2
"""Further scores in the headline's table; the evaluation has all."""


def trained(run: Run) -> Content:
    """A sentence, and a row for each network."""
    data = run.get("data") or {}
    rows = [_row(run, index, network) for index, network in enumerate(run.networks)]
    measured = next((row["measured"] for row in rows if row["measured"]), None)
    return {
        "sentence": _sentence(run, rows),
        "rows": rows,
        "task": run.task,
        "titles": list(run.task.further.values())[:MOST_SCORES],
        "name": data.get("name") or run.run_dir.name,
        "resolution": (data.get("preprocessing") or {}).get("resolution"),
        "measured_on": None if measured is None else wording.runtime(measured.runtime, measured.threads),
        "cpu": None if measured is None else (measured.provenance.get("machine") or {}).get("cpu"),
        "clock": None if measured is None else measured.clock,
        "time": max(map(_time, run.networks), default=""),
        "notes": [*run.network_notes("export"), *run.network_notes("latency")],
    }


def _time(network: NetworkRun) -> str:
    provenance = (network.get("train") or {}).get("provenance") or {}
    return str(provenance.get("time") or "")[:10]


def _sentence(run: Run, rows: list[Content]) -> str:
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        return "The training is not finished, or not scored yet."
    words = []
    for row in scored:
        latency = f" in {wording.ms(row['measured'].p50_ms)}{wording.THIN_SPACE}ms" if row["measured"] else ""
        words.append(f"{row['title']} reaches {row['score']:.1f}{wording.THIN_SPACE}% {run.task.title}{latency}")
    return f"{wording.join(words)}."


def _row(run: Run, index: int, network: NetworkRun) -> Content:
    from efficientformer.latency.timing.measurement import Measurement

    evaluation, latency, described = (network.get(name) for name in ("evaluation", "latency", "architecture"))
    costs: Content = {"num_params": None, "macs": None}
    if described:
        architecture, grid = Architecture.from_json(described["architecture"]), grid_of_input(described["resolution"])
        cost = network_cost(architecture, grid, described["num_classes"])
        costs = {"num_params": cost.num_params, "macs": cost.macs}
    return {
        "title": network_title(network),
        "series": index,
        "score": evaluation and evaluation[run.task.primary],
        "further": further_scores(evaluation or {}, run.task)[:MOST_SCORES],
        "num_images": evaluation and evaluation["num_images"],
        "measured": latency and Measurement.from_json(latency),
        **costs,
        **exported_file(run, network),
    }
