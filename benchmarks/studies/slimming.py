"""Does slimming win at equal latency? Against random networks, a scaled L1 and the paper's actions, all trained alike.

    python benchmarks/studies/slimming.py --data cifar10 --work runs/study --seeds 0 1 2 -- budget=40% budget=25% \\
        resolution=32 train.epochs=12

Every seed has a run of its own in `--work`, slimmed to every budget. Its networks are measured interleaved with their
rivals: random networks within 2 % of their latency, and one network of each other method, at most 2 % slower. All are
trained from new weights by the same settings and scored on validation images, which no search sees. Words after `--`
are settings of all runs. Finished phases and networks are kept: the same command resumes. The record is named after the
supernet's way of sampling paths.
"""

import argparse
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.arch.spec import Architecture
from efficientformer.journal import Journal
from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.measure import prepare_untrained
from efficientformer.reading import read_record
from efficientformer.records import digest
from efficientformer.run_dir import RunDir
from efficientformer.search.importance import path_importances
from efficientformer.search.rivals.baselines import (
    SCALED_FREE,
    of_important_blocks,
    random_subnets,
    scalings,
    slim_by,
)
from efficientformer.search.subnet import Subnet
from options import parse
from shared import keep_outcome, measured, over_seeds, shared_run, side_by_side, subnet_top1

WITHIN = 0.02
"""Largest difference between the measured latencies of a rival and the slimmed network."""
NUM_RANDOM = 10
BATCH, MAX_BATCHES = 30, 4
"""Random networks that are drawn and measured at a time, and the largest number of attempts to find a rival."""
DRAWN_WITHIN = 0.03
"""Largest relative difference between their predicted latency and that of networks of equal measured latency."""
NEAR, SCALINGS = 0.08, 8
"""The same for a scaled L1, and the number of scalings to measure."""
BARS = {"mean of random": 2.0, "best of random": 0.0, "scaled_l1": 1.0, "paper's actions": 0.0}
"""Required lead of slimming in points of top-1, as a mean over seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    parser.add_argument("--measure-only", action="store_true", help="stop before the trainings, to train elsewhere")
    arguments, settings = parse(parser)
    rows = []
    for seed in arguments.seeds:
        run_dir = arguments.work / f"seed-{seed}"
        for verb in (verbs.table, verbs.supernet, verbs.slim):
            verb(run_dir=run_dir, **{**settings, "data": arguments.data, "seed": seed})
        rows += matched_budgets(RunDir(run_dir), seed)
    if arguments.measure_only:
        return
    rows = trained_alike(rows, arguments.processes)
    if len(arguments.seeds) == 1:
        sys.stdout.write("One seed has no interval: run several for a record.\n")
        return
    leads = {name: summary(name, rows) for name in BARS}
    first = RunDir(arguments.work / f"seed-{arguments.seeds[0]}")
    drawn = shared_run(first.root).settings.supernet
    keep_outcome(
        "slimming",
        "top-1 of networks of equal measured latency, trained alike from new weights",
        first,
        drawn.noise if drawn.sampling == "single" else drawn.sampling,
        within_percent=100 * WITHIN,
        ahead=leads,
        rows=rows,
    )
    for name, row in leads.items():
        low, high = row["interval"]
        points = f"{row['points']:+.2f} [{low:+.2f}, {high:+.2f}] points"
        sys.stdout.write(f"slimming over {name}: {points}; {'held' if row['held'] else 'missed'} {row['bar']:+.1f}\n")


def matched_budgets(run_dir: RunDir, seed: int) -> list[dict[str, Any]]:
    """One row per budget: the slimmed network and its rivals, measured."""
    with open_run(RunRequest(run_dir=run_dir.root)) as workspace:
        return [
            {
                **{"root": run_dir.root, "seed": seed, "budget": entry["budget"], "slug": entry["slug"]},
                "networks": matched(workspace, entry),
            }
            for entry in read_record(run_dir.trace, Any)["budgets"]
        ]


def subnets_of(row: dict[str, Any]) -> dict[str, Subnet]:
    return {name: Subnet.from_json(network) for name, network in row["networks"].items()}


def trained_alike(rows: list[dict[str, Any]], processes: int) -> list[dict[str, Any]]:
    """Train and score the networks of all rows."""
    trainings = [(row["root"], name, subnet) for row in rows for name, subnet in subnets_of(row).items()]
    scores = iter(side_by_side(processes, subnet_top1, trainings))
    return [outcome(row, {name: next(scores) for name in row["networks"]}) for row in rows]


def outcome(row: dict[str, Any], top1: dict[str, float]) -> dict[str, Any]:
    """The row with the scores of its networks, and the lead of slimming over each kind of rival in points."""
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
    """The slimmed network and rivals of the same measured latency; measured once and kept."""
    about = digest(
        [entry["architecture"], entry["origins"], NUM_RANDOM, WITHIN, DRAWN_WITHIN, NEAR, SCALINGS, SCALED_FREE]
    )
    journal = Journal(workspace.run_dir.root / "study" / f"{entry['slug']}.jsonl", about, Any)
    slimmed = Subnet.from_json(entry)
    if not journal.lines:
        journal.add(random_rivals(workspace, slimmed, entry))
    if len(journal.lines) < 2:
        drawn = [Subnet.from_json(row) for name, row in journal.lines[0].items() if name.startswith("random")]
        like_ms = float(np.median([load_table(workspace).predict(subnet.architecture) for subnet in drawn]))
        scaled = scaled_rival(workspace, slimmed, like_ms)
        journal.add({"scaled_l1": scaled, "paper's actions": paper_rival(workspace, slimmed, like_ms)})
    return journal.lines[0] | journal.lines[1]


def random_rivals(workspace: Workspace, slimmed: Subnet, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The slimmed network, and random ones whose latency, measured interleaved, is within 2 % of it."""
    predict = load_table(workspace).predict
    rng = random.Random(f"{workspace.settings.seed}/study/{entry['slug']}")
    rows: dict[str, dict[str, Any]] = {}
    drawn: set[Architecture] = set()
    like_ms, likes = entry["predicted_ms"], []
    for _ in range(MAX_BATCHES):
        fastest_ms, slowest_ms = (1 - DRAWN_WITHIN) * like_ms, (1 + DRAWN_WITHIN) * like_ms
        batch = random_subnets(
            workspace.space, predict, fastest_ms=fastest_ms, slowest_ms=slowest_ms, count=BATCH, rng=rng
        )
        # Subnets that differ only in the blocks that they take from the supernet are one network when trained alone.
        new = {subnet.architecture: subnet for subnet in batch if subnet.architecture not in drawn}
        subnets = {f"random-{number}": subnet for number, subnet in enumerate(new.values(), start=len(drawn))}
        drawn |= set(new)
        measured_rows = measured_interleaved(workspace, slimmed, subnets)
        rows = {"slimmed": measured_rows.pop("slimmed")} | rows
        for name, row in measured_rows.items():
            likes.append(predict(subnets[name].architecture) / row["ratio"])
            if is_as_fast(row) and len(rows) <= NUM_RANDOM:
                rows[name] = row
        # If the table mispredicts the slimmed network, networks of equal latency have another predicted latency.
        like_ms = float(np.median(likes))
        if len(rows) > NUM_RANDOM:
            break
    return rows


def scaled_rival(workspace: Workspace, slimmed: Subnet, like_ms: float) -> dict[str, Any]:
    """A scaled L1 of the slimmed network's latency: at most 4 % faster and 2 % slower, with the most equal factors.

    If there is none, the slowest that is no slower.
    """
    predict, unlike = load_table(workspace).predict, scalings(workspace.space)
    near = sorted((net for net in unlike if abs(predict(net) / like_ms - 1) <= NEAR), key=unlike.__getitem__)
    importances = path_importances(read_record(workspace.run_dir.supernet_record, Any)["alphas"])
    subnets = {str(number): of_important_blocks(net, importances) for number, net in enumerate(near[:SCALINGS])}
    rows = measured_interleaved(workspace, slimmed, subnets)
    rows.pop("slimmed")
    alike = [row for row in rows.values() if 1 - SCALED_FREE <= row["ratio"] <= 1 + WITHIN]
    return alike[0] if alike else slowest_as_fast(list(rows.values()))


def paper_rival(workspace: Workspace, slimmed: Subnet, like_ms: float) -> dict[str, Any]:
    """A network slimmed with the paper's actions: of several budgets, the slowest that is no slower than `slimmed`."""
    predict, scorer = load_table(workspace).predict, CachedScorer(workspace)
    importances = path_importances(read_record(workspace.run_dir.supernet_record, Any)["alphas"])
    tried: dict[Architecture, dict[str, Any]] = {}
    for _ in range(MAX_BATCHES):
        budget_ms = (1 + WITHIN / 2) * like_ms
        subnet = slim_by(
            workspace.space, importances, price=predict, latency=predict, accuracy=scorer, budget_ms=budget_ms
        )
        if subnet.architecture in tried:
            break
        row = tried[subnet.architecture] = measured_interleaved(workspace, slimmed, {"rival": subnet})["rival"]
        if is_as_fast(row):
            break
        like_ms = predict(subnet.architecture) / row["ratio"]
    return slowest_as_fast(list(tried.values()))


def slowest_as_fast(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The slowest that is at most 2 % slower than the slimmed network; if there is none, the fastest."""
    fast = [row for row in rows if row["ratio"] <= 1 + WITHIN]
    return max(fast, key=lambda row: row["ratio"]) if fast else min(rows, key=lambda row: row["ratio"])


def is_as_fast(row: dict[str, Any]) -> bool:
    return abs(math.log(row["ratio"])) <= math.log(1 + WITHIN)


def measured_interleaved(workspace: Workspace, slimmed: Subnet, rivals: dict[str, Subnet]) -> dict[str, dict[str, Any]]:
    """The network slimmed, as `slimmed`, and its rivals, interleaved."""
    subnets = {"slimmed": slimmed, **rivals}
    prepared = {name: prepare_untrained(workspace, subnet.architecture) for name, subnet in subnets.items()}
    results = measured(workspace, prepared, reference="slimmed")
    return {
        name: {**subnets[name].to_json(), "p50_ms": result.p50_ms, "ratio": result.ratio.p50 if result.ratio else 1.0}
        for name, result in results.items()
    }


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The lead of slimming over a kind of rival in points, with its interval, and whether it reaches the bar."""
    points, interval = over_seeds([(row["seed"], row["ahead"][name]) for row in rows])
    bar = BARS[name]
    return {"points": points, "interval": interval, "bar": bar, "held": points >= bar}


if __name__ == "__main__":
    main()
