"""Do short trainings of a few contenders pick better networks than the supernet's score alone?

    python benchmarks/studies/trials.py --work runs/study --seeds 0 1 2

Uses the runs of slimming.py in `--work`, which need the setting slim.trials. Trains all networks of the trials (the
first is slimming's own) to the end as that study does and scores them on validation images. The record has the gain of
the trials' choice, the gain of the best possible choice, and how well each score ranks the networks of a budget.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.subnet import Subnet
from shared import keep_outcome, over_seeds, side_by_side, subnet_top1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs of slimming.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    arguments = parser.parse_args()
    roots = {seed: arguments.work / f"seed-{seed}" for seed in arguments.seeds}
    groups = [
        {"seed": seed, "root": root, "budget": entry["budget"], "trials": entry["trials"]}
        for seed, root in roots.items()
        for entry in read_record(RunDir(root).trace, Any)["budgets"]
    ]
    trainings = [
        (group["root"], f"{group['budget']}-{number}", Subnet.from_json(trial))
        for group in groups
        for number, trial in enumerate(group["trials"])
    ]
    scores = iter(side_by_side(arguments.processes, subnet_top1, trainings))
    rows = [outcome(group, [next(scores) for _ in group["trials"]]) for group in groups]
    means = {}
    for name in MEANINGS:
        mean, interval = over_seeds([(row["seed"], row[name]) for row in rows])
        means[name] = {"mean": mean, "interval": interval}
    what = "networks of short trials, trained to the end: gains and rankings of the trials' choice"
    keep_outcome("trials", what, RunDir(roots[arguments.seeds[0]]), found=means, rows=rows)
    for name, row in means.items():
        sys.stdout.write(f"{name}: {row['mean']:+.2f} {row['interval']}; {MEANINGS[name]}\n")


MEANINGS = {
    "trials_gain": "lead of the trials' choice over slimming's own network, in points of top-1",
    "best_gain": "lead of the best network of the trials, in points",
    "mean_gain": "lead of the mean of the other networks, in points",
    "trial_tau": "Kendall tau of a trial's top-1 and the final one, within a budget",
    "supernet_tau": "Kendall tau of the supernet's score and the final top-1, within a budget",
}


def outcome(group: dict[str, Any], top1: list[float]) -> dict[str, Any]:
    trials = group["trials"]
    tried = [trial["trial_top1"] for trial in trials]
    chosen = tried.index(max(tried))
    return {
        "seed": group["seed"],
        "budget": group["budget"],
        "trials": [{**trial, "final_top1": final} for trial, final in zip(trials, top1, strict=True)],
        "trials_gain": top1[chosen] - top1[0],
        "best_gain": max(top1) - top1[0],
        "mean_gain": float(np.mean(top1[1:])) - top1[0],
        "trial_tau": float(kendalltau(tried, top1).statistic),
        "supernet_tau": float(kendalltau([trial["accuracy"] for trial in trials], top1).statistic),
    }


if __name__ == "__main__":
    main()
