"""What papers report of backbones in task models, next to the latencies that are measured here."""

from typing import Any

from efficientformer.report.benchmark.findings import usable
from efficientformer.report.wording import runtime_title

SHOWN = {
    "semantic": {"miou": "mIoU"},
    "detection": {"box_ap": "box AP", "ap50": "AP50", "ap75": "AP75", "mask_ap": "mask AP"},
}
"""Scores by task, by their names in records."""


def published_figures(record: dict[str, Any]) -> dict[str, Any]:
    """Rows {title, source, scores, p50_ms} with titles of their scores and of runtimes; none of classifiers. p50_ms: by
    runtime, of the network of that name, None where it was not measured."""
    task = record.get("task")
    if task is None:
        return {"published": [], "scores": [], "runtimes": [], "recipe": ""}
    shown, runtimes = SHOWN[task["name"]], [runtime["name"] for runtime in record["runtimes"]]
    measured = {
        (network["source"]["target"], name): result["p50_ms"]
        for name in runtimes
        for network, result in usable(record, name)
        if network["source"]["kind"] == "zoo"
    }
    rows = [
        {
            "title": row["title"],
            "source": record["sources"][row["source"]],
            "scores": [row.get(name) for name in shown],
            "p50_ms": [measured.get((row["name"], name)) for name in runtimes],
        }
        for row in record.get("published", [])
        if next(iter(shown)) in row
    ]
    titles = [runtime_title(name) for name in runtimes]
    return {"published": rows, "scores": list(shown.values()), "runtimes": titles, "recipe": task["published_recipe"]}
