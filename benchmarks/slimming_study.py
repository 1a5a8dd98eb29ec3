"""Does slimming win at equal latency? Against random networks, a scaled L1 and the paper's actions, all trained alike.

    python benchmarks/slimming_study.py --data cifar10 --work runs/study --seeds 0 1 2 -- --budget 40% --budget 25% \\
        --resolution 32 --train.epochs 12

For every seed a run of its own in `--work` is slimmed to every budget (options after `--` go to each verb). Rivals of a
found network have at most its latency by the table. They are measured beside it, interleaved; random ones within 2 %
stay. All are trained by the same settings from new weights and scored on validation images, which no search sees.
Every finished phase and network is kept, so the same command goes on. The outcome goes to
benchmarks/records/slimming_study.json.
"""

import argparse
import math
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.pipeline.evaluations import Evaluations
from efficientformer.pipeline.measure import prepare_untrained
from efficientformer.pipeline.run_dir import RunDir
from efficientformer.pipeline.workspace import Workspace
from efficientformer.records import Journal, digest, read_record
from efficientformer.search.baselines import L1_FREE, random_subnets, scaled_l1, slim_by
from efficientformer.search.subnet import Subnet
from studies import measured, open_run, over_seeds, parse, side_by_side, subnet_top1, verb, write_outcome

RECORD = Path(__file__).parent / "records" / "slimming_study.json"
WITHIN = 0.02
"""How far the measured latency of a rival may lie from that of the slimmed network."""
NUM_RANDOM = 10
BATCH, MAX_BATCHES = 30, 4
"""Random networks drawn and measured at a time, and how often, where too few are as fast as the table says."""
BARS = {"mean of random": 2.0, "best of random": 0.0, "scaled_l1": 1.0, "paper's actions": 0.0}
"""Points of top-1 that slimming is to be ahead by, in the mean over seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=1, help="networks that are trained beside one another")
    parser.add_argument("--measure-only", action="store_true", help="end before the trainings, for another machine")
    parser.add_argument("--out", type=Path, default=RECORD)
    arguments, options = parse(parser)
    rows = []
    for seed in arguments.seeds:
        run_dir = arguments.work / f"seed-{seed}"
        for name in ("table", "supernet", "slim"):
            verb(name, run_dir, ["--data", arguments.data, "--seed", str(seed), *options])
        rows += matched_budgets(RunDir(run_dir), seed)
    if arguments.measure_only:
        return
    rows = trained_alike(rows, arguments.processes)
    if len(arguments.seeds) == 1:
        sys.stdout.write("One seed has no interval: give this and others for a record.\n")
        return
    found = {name: summary(name, rows) for name in BARS}
    write_outcome(
        arguments.out,
        "top-1 of networks of equal measured latency, trained alike from new weights",
        RunDir(arguments.work / f"seed-{arguments.seeds[0]}"),
        within_percent=100 * WITHIN,
        ahead=found,
        rows=rows,
    )
    for name, row in found.items():
        low, high = row["interval"]
        points = f"{row['points']:+.2f} [{low:+.2f}, {high:+.2f}] points"
        sys.stdout.write(f"slimming over {name}: {points}; {'held' if row['held'] else 'missed'} {row['bar']:+.1f}\n")


def matched_budgets(run_dir: RunDir, seed: int) -> list[dict[str, Any]]:
    """One row per budget: the slimmed network and its rivals, measured."""
    with run_dir.locked():
        workspace = open_run(run_dir)
        return [
            {
                **{"root": run_dir.root, "seed": seed, "budget": entry["budget"], "slug": entry["slug"]},
                "networks": matched(workspace, entry),
            }
            for entry in read_record(run_dir.trace)["budgets"]
        ]


def subnets_of(row: dict[str, Any]) -> dict[str, Subnet]:
    return {name: Subnet.from_json(network) for name, network in row["networks"].items()}


def trained_alike(rows: list[dict[str, Any]], processes: int) -> list[dict[str, Any]]:
    """What came out for each row, once all of its networks are trained and scored."""
    trainings = [(row["root"], name, subnet) for row in rows for name, subnet in subnets_of(row).items()]
    scores = iter(side_by_side(processes, subnet_top1, trainings))
    return [outcome(row, {name: next(scores) for name in row["networks"]}) for row in rows]


def outcome(row: dict[str, Any], top1: dict[str, float]) -> dict[str, Any]:
    """The row with the scores of its networks, and by how many points slimming is ahead of each kind of rival."""
    drawn = [value for name, value in top1.items() if name.startswith("random")]
    rivals = {"mean of random": float(np.mean(drawn)), "best of random": max(drawn)}
    rivals |= {name: top1[name] for name in ("scaled_l1", "paper's actions")}
    return {
        "seed": row["seed"],
        "budget": row["budget"],
        "networks": {name: {**network, "top1": top1[name]} for name, network in row["networks"].items()},
        "ahead": {name: top1["slimmed"] - rival for name, rival in rivals.items()},
    }


def matched(workspace: Workspace, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The slimmed network and rivals whose measured latency is within 2 % of its own; kept once they were measured."""
    about = digest([entry["architecture"], entry["origins"], NUM_RANDOM, WITHIN, L1_FREE])
    journal = Journal(workspace.run_dir.root / "study" / f"{entry['slug']}.jsonl", about)
    if not journal.lines:
        journal.add(rivals_of(workspace, entry))
    return journal.lines[0]


def rivals_of(workspace: Workspace, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    table, space, found = workspace.table(), workspace.space, Subnet.from_json(entry)
    alphas = read_record(workspace.run_dir.supernet_record)["alphas"]
    like_ms = entry["predicted_ms"]
    subnets = {"slimmed": found, "scaled_l1": scaled_l1(space, alphas, table.predict, (1 + WITHIN) * like_ms)}
    subnets["paper's actions"] = slim_by(
        space,
        alphas,
        price=table.predict,
        latency=table.predict,
        accuracy=Evaluations(workspace),
        budget_ms=(1 + WITHIN / 2) * like_ms,
        action_set="paper",
    )
    rows: dict[str, dict[str, Any]] = {}
    rng, drawn = random.Random(f"{workspace.settings.seed}/study/{entry['slug']}"), set()
    for batch in range(1, MAX_BATCHES + 1):
        # Where the table errs about the slimmed network, those measured as slow as it lie beside what is predicted.
        within = batch * WITHIN
        fastest_ms, slowest_ms = (1 - within) * like_ms, (1 + within) * like_ms
        batch_drawn = random_subnets(
            space, table.predict, fastest_ms=fastest_ms, slowest_ms=slowest_ms, count=BATCH, rng=rng
        )
        # Subnets that differ in the blocks which they take from the supernet alone are one network when trained alone.
        further = {subnet.architecture: subnet for subnet in batch_drawn if subnet.architecture not in drawn}
        subnets |= {f"random-{number}": subnet for number, subnet in enumerate(further.values(), start=len(drawn))}
        drawn |= set(further)
        rows = measured_alike(workspace, subnets, NUM_RANDOM - num_random(rows)) | rows
        if num_random(rows) == NUM_RANDOM:
            break
        subnets = {"slimmed": found}
    return rows


def num_random(names: Iterable[str]) -> int:
    return sum(name.startswith("random") for name in names)


def measured_alike(
    workspace: Workspace, subnets: dict[str, Subnet], most_random: int = NUM_RANDOM
) -> dict[str, dict[str, Any]]:
    """The networks, measured beside the one called slimmed; of the random ones at most that many, within 2 %."""
    prepared = {name: prepare_untrained(workspace, subnet.architecture) for name, subnet in subnets.items()}
    results = measured(workspace, prepared, reference="slimmed")
    rows = {}
    for name, result in results.items():
        assert result.ratio is not None
        if name.startswith("random") and abs(math.log(result.ratio.p50)) > math.log(1 + WITHIN):
            continue
        if name.startswith("random") and num_random(rows) == most_random:
            continue
        rows[name] = {**subnets[name].to_json(), "p50_ms": result.p50_ms, "ratio": result.ratio.p50}
    return rows


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By how many points slimming is ahead of a kind of rival, and whether that holds the bar."""
    points, interval = over_seeds([(row["seed"], row["ahead"][name]) for row in rows])
    bar = BARS[name]
    return {"points": points, "interval": interval, "bar": bar, "held": points >= bar}


if __name__ == "__main__":
    main()
