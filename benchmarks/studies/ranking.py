"""Which way of training the supernet ranks networks best? Variants against the same networks trained alone.

    python benchmarks/studies/image_subset.py cifar10 runs/cifar10-mid --train 1000 --val 1000
    python benchmarks/studies/ranking.py --data runs/cifar10-mid --work runs/ranking -- \\
        preset=quick resolution=32 rank.networks=24

Words after `--` are settings of all runs. The networks are drawn by the seed of the settings and trained once for each
of `--seeds`. Every variant trains a supernet of its own in a run of its own and scores the same networks. In an
EfficientFormerV2 space (`space=v2_quick`) variants differ by the networks of a step and the form of batch norm, and
train for about equal time: `supernet.epochs` are those of one network a step. The record has Kendall's tau by
likelihood and by top-1, each with its interval over networks, and the tau of latency alone. The same command resumes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.pipeline import verbs
from efficientformer.pipeline.phases.rank import alone_score, drawn_subnets, ranking
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.run_dir import RunDir
from efficientformer.search.scoring.score import Metric
from efficientformer.search.subnet import Subnet
from options import parse
from shared import keep_outcome, share, shared_run, side_by_side

METRICS: tuple[Metric, ...] = ("likelihood", "top1")
PATHS: dict[str, dict[str, Any]] = {
    "paper: soft mixing, one width": {"sampling": "soft", "noise": "uniform", "elastic_width": "none"},
    "soft mixing, random widths": {"sampling": "soft", "noise": "uniform", "elastic_width": "random"},
    "single path, one width": {"sampling": "single", "noise": "uniform", "elastic_width": "none"},
    "single path, random widths": {"sampling": "single", "noise": "uniform", "elastic_width": "random"},
    "single path, sandwich": {"sampling": "single", "noise": "uniform", "elastic_width": "sandwich"},
    "single path, random widths, Gumbel noise": {"sampling": "single", "noise": "gumbel", "elastic_width": "random"},
    "path drawn evenly, random widths": {"sampling": "even", "elastic_width": "random"},
}
SANDWICHES: dict[str, dict[str, Any]] = {
    "four networks a step (the paper)": {"networks": 4},
    "four networks a step, switchable batch norm (the paper)": {"networks": 4, "batch_norm": "switchable"},
    "two networks a step": {"networks": 2},
    "one network a step": {"networks": 1},
}
VARIANTS = PATHS | SANDWICHES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), help="all of the space by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the trainings of each network alone")
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    arguments, settings = parse(parser)
    settings["data"] = arguments.data
    first: RunDir | None = None
    rows = []
    template = shared_run(arguments.work, **settings)
    of_space, epochs = SANDWICHES if template.space.is_v2 else PATHS, template.settings.supernet.epochs
    for name in arguments.variants or of_space:
        run_dir = RunDir(arguments.work / f"variant-{list(VARIANTS).index(name)}")
        if first is not None:
            share(first, run_dir, [first.table, first.stamp("table"), *first.rank_trained.glob("*.json")])
        given = merge_given(settings, {"supernet": in_equal_time(VARIANTS[name], epochs)})
        found = ranked(run_dir, given, arguments.seeds, arguments.processes)
        rows.append({"variant": name, "supernet": given["supernet"], **found})
        first = first or run_dir
        by = ", ".join(f"{found[metric]['kendall_tau']:.2f} by {metric}" for metric in METRICS)
        sys.stdout.write(f"{name}: tau {by}, latency alone {found['top1']['latency_tau']:.2f}\n")
    assert first is not None
    what = "Kendall's tau between a supernet's scores of random networks and their top-1 trained alone"
    keep_outcome("ranking", what, first, seeds=arguments.seeds, rows=rows)


def in_equal_time(variant: dict[str, Any], epochs: int) -> dict[str, Any]:
    """The variant with as many epochs as take the time of `epochs` with one network a step."""
    return {**variant, "epochs": max(1, round(epochs / variant.get("networks", 1)))}


def ranked(run_dir: RunDir, settings: dict[str, Any], seeds: list[int], processes: int) -> dict[str, Any]:
    """The row of one variant, without its name."""
    verbs.table(run_dir=run_dir.root, **settings)
    supernet = verbs.supernet(run_dir=run_dir.root, **settings)
    workspace = shared_run(run_dir.root)
    drawn = drawn_subnets(workspace.space, workspace.settings.rank.networks, workspace.settings.seed)
    trainings = [(run_dir.root, seed, subnet) for subnet in drawn for seed in seeds]
    alone = np.reshape(side_by_side(processes, train_alone, trainings), (len(drawn), len(seeds)))
    table, scorer = load_table(workspace), CachedScorer(workspace)
    rows = []
    for subnet, top1s in zip(drawn, alone.tolist(), strict=True):
        latency_ms = table.predict(subnet.architecture)
        scores = {metric: scorer.score(subnet).value(metric) for metric in METRICS}
        rows.append({"latency_ms": latency_ms, **scores, "alone_top1": float(np.mean(top1s)), "by_seed": top1s})
    taus = {metric: ranking([{**row, "supernet_accuracy": row[metric]} for row in rows]) for metric in METRICS}
    return {**taus, "held_out_top1": supernet["held_out_top1"], "networks": rows}


def train_alone(root: Path, seed: int, subnet: Subnet) -> float:
    return alone_score(shared_run(root, seed=seed), subnet, f"{subnet.architecture}, seed {seed}")["top1"]


if __name__ == "__main__":
    main()
