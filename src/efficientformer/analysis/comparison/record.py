"""`benchmark.json`: the results of a comparison, with published accuracies and the paper's figures."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from efficientformer.analysis.comparison.compare import TOLERANCE, Comparison
from efficientformer.analysis.comparison.compared_network import ComparedNetwork
from efficientformer.analysis.comparison.network_source import NetworkSource, TaskModel
from efficientformer.analysis.comparison.published import PaperRow, dense_recipes, dense_rows, paper_row, sources
from efficientformer.analysis.comparison.task_models import own_score

# Pairs whose latencies the text of the paper compares, on the neural engine of an iPhone 12.
PAPER_PAIRS = (
    ("efficientformer_l1", "mobilenetv2_140"),
    ("efficientformer_l3", "efficientnet_b0"),
    ("efficientformer_l1", "mobilevit_xs"),
    ("efficientformer_l3", "deit_small"),
    ("efficientformer_l3", "poolformer_s36"),
    ("efficientformer_l7", "efficientnet_b5"),
)

Row = dict[str, Any]


def network_rows(
    networks: Sequence[ComparedNetwork], runtimes: Sequence[str], comparison: Comparison, reference: str
) -> list[Row]:
    """One row per network, with one result per runtime in the order given."""
    return [
        {
            **_source(network.source),
            "deploy_form": network.deploy_form,
            "weights": network.weights,
            "num_params": network.num_params,
            "macs": network.macs,
            "resolution": list(network.resolution),
            **_published(network),
            **_of_task(network.source),
            "results": [_result(network.source.name, runtime, comparison, reference) for runtime in runtimes],
        }
        for network in networks
    ]


def failed_row(source: NetworkSource, runtimes: Sequence[str], reason: str) -> Row:
    """The row of a network that could not be built."""
    nothing = dict.fromkeys(("deploy_form", "weights", "num_params", "macs", "resolution"))
    accuracy = dict.fromkeys(("top1", "top5", "top1_source", "paper"))
    empty = _result("", "", Comparison(), "")
    results = [{**empty, "runtime": runtime, "problem": reason} for runtime in runtimes]
    return {**_source(source), **nothing, **accuracy, **_of_task(source), "results": results}


def paper_comparisons(
    networks: Sequence[ComparedNetwork], runtimes: Sequence[str], comparison: Comparison
) -> list[Row]:
    """The paper's pairs that were measured here: the paper's milliseconds, and the ratio on each runtime."""
    measured: dict[str, tuple[str, PaperRow]] = {}
    for network in networks:
        row = paper_row(network.source.target) if network.source.task is None else None
        if row is not None and network.source.kind in ("zoo", "timm"):
            measured.setdefault(row.key, (network.source.name, row))
    rows = []
    for subject, baseline in PAPER_PAIRS:
        if subject in measured and baseline in measured:
            (name, paper), (other, other_paper) = measured[subject], measured[baseline]
            rows.append(
                {
                    "network": name,
                    "baseline": other,
                    "paper_ms": [paper.npu_ms, other_paper.npu_ms],
                    "paper_top1": [paper.top1, other_paper.top1],
                    "paper_device": sources()["paper"]["device"],
                    "results": [
                        {"runtime": runtime, **_ratio(comparison, name, other, runtime)} for runtime in runtimes
                    ],
                }
            )
    return rows


def task_facts(model: TaskModel) -> Row:
    """What the record of a comparison of task models has besides: their task and head, and the published figures."""
    published = [
        {name: value for name, value in row.items() if name not in ("mask_ap50", "mask_ap75")} for row in dense_rows()
    ]
    return {
        "task": {
            "name": model.task,
            "head": str(model.head),
            "num_classes": model.num_classes,
            "published_recipe": dense_recipes()[model.task],
        },
        "published": published,
    }


def agreements(networks: Sequence[ComparedNetwork], runtimes: Sequence[str], comparison: Comparison) -> list[Row]:
    """For every two runtimes, Kendall's tau between their latencies of the networks that both run correctly."""
    rows = []
    for first, second in combinations(runtimes, 2):
        names = [
            network.source.name
            for network in networks
            if all((network.source.name, runtime) in comparison.usable() for runtime in (first, second))
        ]
        if len(names) > 2:
            p50s = [[comparison.measurements[name, runtime].p50_ms for name in names] for runtime in (first, second)]
            tau = float(np.asarray(kendalltau(*p50s)[0]))
            rows.append({"runtimes": [first, second], "kendall_tau": round(tau, 4), "num_networks": len(names)})
    return rows


def _source(source: NetworkSource) -> Row:
    return {"name": source.name, "title": source.title, "source": {"kind": source.kind, "target": source.target}}


def _of_task(source: NetworkSource) -> Row:
    """Of a task model what its run scored; nothing for a classifier."""
    return {} if source.task is None else {"score": own_score(source)}


def _published(network: ComparedNetwork) -> Row:
    published = network.published_top1()
    is_named = network.source.kind in ("zoo", "timm") and network.source.task is None
    paper = paper_row(network.source.target) if is_named else None
    return {
        "top1": published and published.top1,
        "top5": published and published.top5,
        "top1_source": published and published.source,
        "paper": paper and {"npu_ms": paper.npu_ms, "top1": paper.top1},
    }


def _result(name: str, runtime: str, comparison: Comparison, reference: str) -> Row:
    key = (name, runtime)
    measurement, check = comparison.measurements.get(key), comparison.checks.get(key)
    return {
        "runtime": runtime,
        "p50_ms": measurement and round(measurement.p50_ms, 6),
        "interval_ms": measurement and [round(value, 6) for value in measurement.interval_ms],
        "p90_ms": measurement and round(measurement.p90_ms, 6),
        "p99_ms": measurement and round(measurement.p99_ms, 6),
        "disturbed_percent": measurement and round(measurement.disturbed_percent, 1),
        "calm": measurement and measurement.is_calm,
        "settled": measurement and measurement.has_settled,
        **_ratio(comparison, name, reference, runtime),
        "max_abs_difference": check and _finite(check.max_abs_difference),
        "relative_difference": check and _finite(check.relative_difference),
        "tolerance": check.tolerance if check else TOLERANCE,
        "problem": comparison.problems.get(key),
        "samples_ms": measurement and list(measurement.samples_ms),
    }


def _ratio(comparison: Comparison, name: str, other: str, runtime: str) -> Row:
    ratio = comparison.ratio(name, other, runtime)
    return {
        "ratio": ratio and round(ratio.p50, 5),
        "ratio_interval": ratio and [round(value, 5) for value in ratio.interval],
    }


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
