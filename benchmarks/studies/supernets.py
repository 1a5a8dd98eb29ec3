"""Which supernet predicts best how networks of equal latency compare after training alone?

    python benchmarks/studies/supernets.py --data runs/cifar10-32k --work runs/supernets --seeds 10 11 12 13 \\
        --epochs 15 30 -- preset=quick resolution=32 supernet.batch_size=128 supernet.held_out=0.2

Uses the networks of slimming.py and trials.py, whose top-1 after training alone is in their records, so that only
supernets are trained: one for every way of sampling, number of epochs and seed. They share one table. The networks of
one seed and budget are a group of equal measured latency. The record has means over the groups: the correlation and
Kendall's tau between each score of the supernet and training alone, and the lead of the network with the best score
over its group's mean, in points. It also has the probability of the supernet's least likely path. Words after `--` are
settings of all runs.
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy.stats import kendalltau

from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.pipeline.slimming.oracles import accuracy_oracle, load_supernet
from efficientformer.run_dir import RunDir
from efficientformer.search.scoring.score import Metric
from judging import known_networks
from options import parse
from shared import keep_outcome, share, shared_run, side_by_side

WAYS = {
    "by the logits": {"sampling": "single", "noise": "gumbel"},
    "evenly": {"sampling": "even"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13])
    parser.add_argument("--epochs", type=int, nargs="+", default=[15, 30])
    parser.add_argument("--processes", type=int, default=1, help="supernets trained at a time")
    arguments, settings = parse(parser)
    first, settings["data"] = RunDir(arguments.work / "table"), arguments.data
    verbs.table(run_dir=first.root, **settings)
    supernets = [(way, epochs, seed) for way in WAYS for epochs in arguments.epochs for seed in arguments.seeds]
    for supernet in supernets:
        share(first, run_of(arguments.work, *supernet), [first.table, first.stamp("table")])
    rows = side_by_side(
        arguments.processes, agreement, [(arguments.work, *supernet, settings) for supernet in supernets]
    )
    keep_outcome("supernets", "supernets against training alone, among networks of equal latency", first, rows=rows)
    for way, epochs in product(WAYS, arguments.epochs):
        group = [row for row in rows if (row["drawn"], row["epochs"]) == (way, epochs)]
        for metric in get_args(Metric):
            correlations = " ".join(f"{row[metric]['correlation']:.2f}" for row in group)
            sys.stdout.write(f"paths drawn {way}, {epochs} epochs, {metric}: correlation {correlations}\n")


def run_of(work: Path, way: str, epochs: int, seed: int) -> RunDir:
    return RunDir(work / f"{way.replace(' ', '-')}-{epochs}-{seed}")


def agreement(work: Path, way: str, epochs: int, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The row of one supernet, which is trained unless the run has it."""
    run_dir = run_of(work, way, epochs, seed)
    given = merge_given(settings, {"supernet": {**WAYS[way], "epochs": epochs}, "seed": seed})
    record = verbs.supernet(run_dir=run_dir.root, **given)
    workspace = shared_run(run_dir.root)
    scorer = accuracy_oracle(workspace, load_supernet(workspace))
    groups = [[(alone, scorer.score(subnet)) for subnet, alone in networks] for networks in known_networks().values()]
    row = {"drawn": way, "epochs": epochs, "seed": seed, "largest_top1": record["held_out_top1"]}
    row["least_probability"] = min(min(path.values()) for stage in record["alphas"] for path in stage)
    for name in get_args(Metric):
        row[name] = mean_agreement([[(alone, score.value(name)) for alone, score in group] for group in groups])
    return row


def mean_agreement(groups: list[list[tuple[float, float]]]) -> dict[str, float]:
    """Agreement of scores with training alone: means over groups of pairs (alone, score)."""
    rows = []
    for group in groups:
        alone, scores = np.array(group).T
        gain = alone[scores.argmax()] - alone.mean()
        rows.append([np.corrcoef(alone, scores)[0, 1], kendalltau(alone, scores).statistic, gain])
    return dict(zip(("correlation", "tau", "gain"), np.mean(rows, axis=0).tolist(), strict=True))


if __name__ == "__main__":
    main()
