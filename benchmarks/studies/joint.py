"""Does EfficientFormerV2's joint search win at equal latency? Its parts left out one at a time, all trained alike.

    python benchmarks/studies/joint.py --data runs/cifar10-mid --work runs/joint --seeds 0 1 -- preset=quick \\
        resolution=32 budget=40% train.epochs=8

V2 searches widths, depths and expansions together, by size and latency (Mobile Efficiency Score). Every seed has a run
of its own in `--work`, slimmed by accuracy lost per millisecond. `baselines` slims by V2's score, by parameters alone,
by multiply-accumulates alone and without contracting an expansion (coarse), and draws random networks, all at the
predicted latency of the slimmed one and with the same supernet. Nothing is polished, since the rivals are not. All are
measured interleaved, trained from new weights by the same settings, and scored on validation images, which no search
sees. Words after `--` are settings of all runs. Finished phases and networks are kept: the same command resumes.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.formats.slimming import Baselines, BaselinesRow
from efficientformer.pipeline import verbs
from efficientformer.pipeline.phases.baselines import EQUAL
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.measure import prepare_untrained
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.rivals.baselines import random_subnets
from efficientformer.search.subnet import Subnet
from options import parse
from shared import keep_outcome, measured, over_seeds, side_by_side, subnet_top1

RIVALS = ("slim_by_mes", "slim_by_params", "slim_by_macs", "coarse", "scaled_v2_s0")
NUM_RANDOM = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    arguments, settings = parse(parser)
    settings = merge_given(settings, {"slim": {"polish": 0}, "baselines": {"evolution": 0.0, "random": 20}})
    rows = []
    for seed in arguments.seeds:
        run_dir = RunDir(arguments.work / f"seed-{seed}")
        for verb in (verbs.table, verbs.supernet, verbs.slim, verbs.baselines):
            verb(run_dir=run_dir.root, **{**settings, "data": arguments.data, "seed": seed})
        rows += [{"root": run_dir.root, "seed": seed, **row} for row in compared(run_dir)]
    trainings = [
        (row["root"], name, Subnet.from_json(network)) for row in rows for name, network in row["networks"].items()
    ]
    scores = iter(side_by_side(arguments.processes, subnet_top1, trainings))
    for row in rows:
        del row["root"]
        for network in row["networks"].values():
            network["top1"] = next(scores)
    if len(arguments.seeds) == 1:
        sys.stdout.write("One seed has no interval: run several for a record.\n")
        return
    leads = {name: lead(name, rows) for name in (*RIVALS, "random")}
    keep_outcome(
        "joint",
        "top-1 of networks of equal latency found by V2's joint search and by parts of it, trained alike",
        RunDir(arguments.work / f"seed-{arguments.seeds[0]}"),
        ahead=leads,
        rows=rows,
    )
    for name, row in leads.items():
        sys.stdout.write(f"slimming over {name}: {row['points']:+.2f} points, by seed {row['by_seed']}\n")


def compared(run_dir: RunDir) -> list[dict[str, Any]]:
    """One row per budget: the slimmed network and its rivals with their measured latency."""
    with open_run(RunRequest(run_dir=run_dir.root)) as workspace:
        return [
            {"budget": row["budget"], "networks": networks(workspace, row)}
            for row in read_record(run_dir.baselines, Baselines)["budgets"]
        ]


def networks(workspace: Workspace, row: BaselinesRow) -> dict[str, dict[str, Any]]:
    found = {"slimmed": row["slimmed"]} | {rival["name"]: rival for rival in row["baselines"]}
    subnets = {name: Subnet.from_json(found[name]) for name in ("slimmed", *RIVALS)}
    drawn = random_subnets(
        workspace.space,
        load_table(workspace).predict,
        fastest_ms=(1 - EQUAL) * row["latency_ms"],
        slowest_ms=row["latency_ms"],
        count=NUM_RANDOM,
        rng=random.Random(f"{workspace.settings.seed}/joint/{row['slug']}"),
    )
    subnets |= {f"random-{number}": subnet for number, subnet in enumerate(drawn)}
    prepared = {name: prepare_untrained(workspace, subnet.architecture) for name, subnet in subnets.items()}
    measurements = measured(workspace, prepared, reference="slimmed")
    return {
        name: {
            **subnet.to_json(),
            "p50_ms": measurements[name].p50_ms,
            **({"supernet_accuracy": found[name]["accuracy"]} if name in found else {}),
        }
        for name, subnet in subnets.items()
    }


def lead(rival: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The lead of the slimmed network over a rival in points of top-1: mean over seeds, interval, each seed's."""
    points = []
    for row in rows:
        rivals = [network["top1"] for name, network in row["networks"].items() if name.startswith(rival)]
        points.append((row["seed"], row["networks"]["slimmed"]["top1"] - float(np.mean(rivals))))
    mean, interval = over_seeds(points)
    by_seed = {seed: round(float(np.mean([lead for at, lead in points if at == seed])), 2) for seed, _ in points}
    return {"points": mean, "interval": interval, "by_seed": by_seed}


if __name__ == "__main__":
    main()
