"""The result of a run: one entry per budget, from records alone. No torch."""

from pathlib import Path
from typing import Any

from efficientformer.arch.cost import network_cost
from efficientformer.arch.spec import Architecture
from efficientformer.records import read_record, write_record
from efficientformer.run_dir import RunDir

PROMISED = (
    *("budget", "slug", "budget_ms", "predicted_ms", "measured_p50_ms"),
    *("percentile", "measured_ms", "measured_interval_ms", "limits", "kept"),
)


def collect_result(run_dir: RunDir) -> list[dict[str, Any]]:
    """What `design --json` prints; also kept as `result.json`."""
    result = []
    for promise in read_record(run_dir.verification)["promises"]:
        files = run_dir.network(promise["slug"])
        made = read_record(files.architecture)
        architecture = Architecture.from_json(made["architecture"])
        cost = network_cost(architecture, made["resolution"], made["num_classes"])
        result.append(
            {
                **{name: promise[name] for name in PROMISED},
                "top1": read_record(files.evaluation)["top1"],
                "num_params": cost.num_params,
                "macs": cost.macs,
                "architecture": made["architecture"],
                "onnx": str(Path(files.onnx)),
            }
        )
    write_record(run_dir.result, result)
    return result
