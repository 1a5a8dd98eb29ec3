"""Which set of actions finds the best networks? Variants of slimming from the same supernets, trained alike.

    python benchmarks/studies/actions.py --data cifar10 --work runs/actions --seeds 10 11 12 -- preset=quick \\
        resolution=32 budget=40% budget=25%

Every seed has a table and a supernet, which all variants share. The networks found for a budget are measured
interleaved, trained by the same settings from new weights, and scored on validation images, which no search sees. Words
after `--` are settings of all runs. The same command resumes. A default that is chosen by this study must be confirmed
on other seeds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.pipeline.slimming.measure import prepare_untrained
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.subnet import Subnet
from options import parse
from shared import keep_outcome, mean_interval, measured, share, subnet_top1

PAPER = "paper"
VARIANTS: dict[str, dict[str, Any]] = {
    PAPER: {"actions": "paper", "polish": 0},
    "every": {"actions": "every", "polish": 0},
    "exchange": {"actions": "exchange", "polish": 0},
    "paper, polished": {"actions": "paper", "polish": 64},
    "every, polished": {"actions": "every", "polish": 64},
    "every, recovery": {"actions": "every", "polish": 0, "recover_every": 4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    arguments, settings = parse(parser)
    rows = []
    for seed in arguments.seeds:
        given = {**settings, "data": arguments.data, "seed": seed}
        rows += slimmed(arguments.work / f"seed-{seed}", arguments.variants, given)
    if len(arguments.seeds) == 1:
        sys.stdout.write("One seed has no interval: run several for a record.\n")
        return
    summaries = {variant: summary(variant, rows) for variant in arguments.variants}
    keep_outcome(
        "actions",
        "top-1 of networks slimmed by several action sets to the same budgets, trained alike from new weights",
        RunDir(arguments.work / f"seed-{arguments.seeds[0]}"),
        variants=summaries,
        rows=rows,
    )
    for variant, row in summaries.items():
        low, high = row["interval"]
        over = f"{row['over_paper']:+.2f} [{low:+.2f}, {high:+.2f}] points over the paper's actions"
        cost = f"{row['of_budget']:.2f} of the budget, {row['evaluations']:.0f} evaluations"
        sys.stdout.write(f"{variant}: {row['top1']:.2f} %, {over}, {cost}\n")


def slimmed(base: Path, variants: Sequence[str], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per budget and variant, of one seed."""
    verbs.table(run_dir=base, **settings)
    verbs.supernet(run_dir=base, **settings)
    runs, source = {}, RunDir(base)
    for variant in variants:
        run_dir = RunDir(base / variant.replace(", ", "-"))
        share(source, run_dir, [source.table, source.stamp("table")])
        # The previous variant also hands over the scores that the supernet has given already.
        given = merge_given(settings, {"supernet_from": str(source.root), "slim": VARIANTS[variant]})
        for verb in (verbs.table, verbs.supernet, verbs.slim):
            verb(run_dir=run_dir.root, **given)
        runs[variant] = source = run_dir
    traces = {variant: read_record(run_dir.trace, Any) for variant, run_dir in runs.items()}
    with open_run(RunRequest(run_dir=base)) as workspace:
        rows = []
        for number, budget in enumerate(workspace.budgets):
            entries = {variant: trace["budgets"][number] for variant, trace in traces.items()}
            subnets = {variant: Subnet.from_json(entry) for variant, entry in entries.items()}
            prepared = {name: prepare_untrained(workspace, subnet.architecture) for name, subnet in subnets.items()}
            latencies = measured(workspace, prepared, reference=variants[0])
            for variant, subnet in subnets.items():
                entry = entries[variant]
                rows.append(
                    {
                        "seed": workspace.settings.seed,
                        "budget": budget.text,
                        "variant": variant,
                        **subnet.to_json(),
                        "budget_ms": entry["budget_ms"],
                        "p50_ms": latencies[variant].p50_ms,
                        "supernet_accuracy": entry["accuracy"],
                        "top1": subnet_top1(base, variant, subnet),
                        "evaluations": traces[variant]["num_evaluations"],
                    }
                )
    return rows


def summary(variant: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds and budgets; the lead over the paper's actions is averaged over budgets first."""
    own = [row for row in rows if row["variant"] == variant]
    papers = {(row["seed"], row["budget"]): row["top1"] for row in rows if row["variant"] == PAPER}
    leads = {seed: [] for seed in sorted({row["seed"] for row in own})}
    for row in own:
        leads[row["seed"]].append(row["top1"] - papers[row["seed"], row["budget"]])
    over_paper, interval = mean_interval([float(np.mean(lead)) for lead in leads.values()])
    return {
        "top1": float(np.mean([row["top1"] for row in own])),
        "over_paper": over_paper,
        "interval": interval,
        "of_budget": float(np.mean([row["p50_ms"] / row["budget_ms"] for row in own])),
        "evaluations": float(np.mean([row["evaluations"] for row in own])),
    }


if __name__ == "__main__":
    main()
