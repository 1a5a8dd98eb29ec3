"""Which supernet predicts best how networks of equal latency compare after training alone?

    python benchmarks/studies/supernets.py --data runs/cifar10-32k --work runs/supernets --seeds 10 11 12 13 \\
        --epochs 15 30 -- --preset quick --resolution 32 --supernet.batch-size 128 --supernet.held-out 0.2

Uses the networks of slimming.py and trials.py, whose top-1 after training alone is known, so that only supernets are
trained: one for every way of sampling, number of epochs and seed. They share one table, because every run needs one.
Within each group of networks of one seed and budget, which have equal measured latency, it computes how well both
scores of the supernet predict training alone (correlation and Kendall's tau, means over the groups), by how many points
the network with the best score is above the group's mean, and the probability of the supernet's least likely path.
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from efficientformer.pipeline.slimming.oracles import accuracy_oracle, load_supernet
from efficientformer.records import read_record
from efficientformer.run_dir import RunDir
from judging import JUDGES, known_networks
from shared import keep_outcome, open_run, parse, share, side_by_side, verb

WAYS = {
    "by the logits": ["--supernet.sampling", "single", "--supernet.noise", "gumbel"],
    "evenly": ["--supernet.sampling", "even"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13])
    parser.add_argument("--epochs", type=int, nargs="+", default=[15, 30])
    parser.add_argument("--processes", type=int, default=1, help="supernets trained at a time")
    arguments, options = parse(parser)
    first, options = RunDir(arguments.work / "table"), ["--data", arguments.data, *options]
    verb("table", first.root, options)
    supernets = [(way, epochs, seed) for way in WAYS for epochs in arguments.epochs for seed in arguments.seeds]
    for supernet in supernets:
        share(first, run_of(arguments.work, *supernet), [first.table, first.stamp("table")])
    found = side_by_side(
        arguments.processes, agreement, [(arguments.work, *supernet, options) for supernet in supernets]
    )
    keep_outcome("supernets", "supernets against training alone, among networks of equal latency", first, rows=found)
    for way, epochs in product(WAYS, arguments.epochs):
        rows = [row for row in found if (row["drawn"], row["epochs"]) == (way, epochs)]
        for word in JUDGES:
            correlations = " ".join(f"{row[word]['correlation']:.2f}" for row in rows)
            sys.stdout.write(f"paths drawn {way}, {epochs} epochs, {word}: correlation {correlations}\n")


def run_of(work: Path, way: str, epochs: int, seed: int) -> RunDir:
    return RunDir(work / f"{way.replace(' ', '-')}-{epochs}-{seed}")


def agreement(work: Path, way: str, epochs: int, seed: int, options: list[str]) -> dict[str, Any]:
    """The row of one supernet, which is trained if it is missing."""
    run_dir = run_of(work, way, epochs, seed)
    verb("supernet", run_dir.root, [*options, *WAYS[way], "--supernet.epochs", str(epochs), "--seed", str(seed)])
    workspace = open_run(run_dir)
    scorer = accuracy_oracle(workspace, load_supernet(workspace))
    groups = [[(alone, scorer.score(subnet)) for subnet, alone in networks] for networks in known_networks().values()]
    record = read_record(run_dir.supernet_record)
    row = {"drawn": way, "epochs": epochs, "seed": seed, "largest_top1": record["held_out_top1"]}
    row["least_probability"] = min(min(path.values()) for stage in record["alphas"] for path in stage)
    for name in JUDGES:
        row[name] = mean_agreement([[(alone, score.value(name)) for alone, score in group] for group in groups])
    return row


def mean_agreement(groups: list[list[tuple[float, float]]]) -> dict[str, float]:
    """Agreement of scores with training alone, means over groups of (alone, score)."""
    rows = []
    for group in groups:
        alone, said = np.array(group).T
        gain = alone[said.argmax()] - alone.mean()
        rows.append([np.corrcoef(alone, said)[0, 1], kendalltau(alone, said).statistic, gain])
    return dict(zip(("correlation", "tau", "gain"), np.mean(rows, axis=0).tolist(), strict=True))


if __name__ == "__main__":
    main()
