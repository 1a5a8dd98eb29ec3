"""Does slimming win at equal latency? Its networks against random ones and a scaled L1, all trained alike.

    python benchmarks/slimming_study.py --data cifar10 --work runs/study --seeds 3 -- --budget 40% --budget 25% \\
        --resolution 32 --train.epochs 12

For every seed a run of its own in `--work` is slimmed to every budget (options after `--` go to each verb). Rivals of a
found network have its latency by the table; they are measured beside it, interleaved, and random ones within 2 % stay.
All are trained by the same settings from new weights and scored on validation images, which no search sees. Every
finished phase and network is kept, so the same command goes on. The outcome goes to
benchmarks/records/slimming_study.json.
"""

import argparse
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from efficientformer.cli.app import run as run_verb
from efficientformer.latency.measure_networks import Subject, measure_networks
from efficientformer.pipeline.console import RunConsole
from efficientformer.pipeline.measure import prepare_untrained
from efficientformer.pipeline.run_dir import RunDir
from efficientformer.pipeline.settings import resolve_settings
from efficientformer.pipeline.stand_alone import train_stand_alone, validate
from efficientformer.pipeline.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.records import Journal, digest, read_record, write_record
from efficientformer.search.baselines import random_subnets, scaled_l1
from efficientformer.search.subnet import Subnet
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.events import EventLog

RECORD = Path(__file__).parent / "records" / "slimming_study.json"
WITHIN = 0.02
"""How far the measured latency of a rival may lie from that of the slimmed network."""
NUM_RANDOM = 10
BARS = {"mean of random": 2.0, "best of random": 0.0, "scaled_l1": 1.0}
"""Points of top-1 that slimming is to be ahead by, in the mean over seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RECORD)
    own, options = (sys.argv[1:], []) if "--" not in sys.argv else split(sys.argv[1:])
    arguments = parser.parse_args(own)
    if arguments.seeds < 2:
        parser.error("--seeds is 2 or more: one seed has no interval")
    rows = []
    for seed in range(arguments.seeds):
        run_dir = arguments.work / f"seed-{seed}"
        for verb in ("table", "supernet", "slim"):
            given = [verb, "--data", arguments.data, "--seed", str(seed), "--run-dir", str(run_dir), *options]
            if code := run_verb(given):
                raise SystemExit(code)
        rows += compared(run_dir, seed)
    found = {name: summary(name, rows) for name in BARS}
    settings = read_record(arguments.work / "seed-0" / "settings.json")["given"] | {"data": Path(arguments.data).name}
    write_record(
        arguments.out,
        {
            "what": "top-1 of networks of equal measured latency, trained alike from new weights",
            "settings": settings,
            "within_percent": 100 * WITHIN,
            "ahead": found,
            "rows": rows,
            "provenance": provenance(),
        },
    )
    for name, row in found.items():
        low, high = row["interval"]
        points = f"{row['points']:+.2f} [{low:+.2f}, {high:+.2f}] points"
        sys.stdout.write(f"slimming over {name}: {points}; {'held' if row['held'] else 'missed'} {row['bar']:+.1f}\n")


def split(words: list[str]) -> tuple[list[str], list[str]]:
    at = words.index("--")
    return words[:at], words[at + 1 :]


def compared(root: Path, seed: int) -> list[dict[str, Any]]:
    """One row per budget: the slimmed network and its rivals, measured and trained."""
    run_dir = RunDir(root)
    with run_dir.locked():
        workspace = Workspace(run_dir, resolve_settings(run_dir.given_settings()), RunConsole())
        return [budget_row(workspace, entry, seed) for entry in read_record(run_dir.trace)["budgets"]]


def budget_row(workspace: Workspace, entry: dict[str, Any], seed: int) -> dict[str, Any]:
    networks = matched(workspace, entry)
    scored = {name: {**row, "top1": trained(workspace, row)} for name, row in networks.items()}
    top1 = {name: row["top1"] for name, row in scored.items()}
    drawn = [value for name, value in top1.items() if name.startswith("random")]
    return {
        "seed": seed,
        "budget": entry["budget"],
        "networks": scored,
        "ahead": {
            "mean of random": top1["slimmed"] - float(np.mean(drawn)),
            "best of random": top1["slimmed"] - max(drawn),
            "scaled_l1": top1["slimmed"] - top1["scaled_l1"],
        },
    }


def matched(workspace: Workspace, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The slimmed network and rivals whose measured latency is within 2 % of its own; kept once they were measured."""
    about = digest([entry["architecture"], entry["origins"], NUM_RANDOM, WITHIN])
    journal = Journal(workspace.run_dir.root / "study" / f"{entry['slug']}.jsonl", about)
    if not journal.lines:
        journal.add(measured(workspace, entry))
    return journal.lines[0]


def measured(workspace: Workspace, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    table, space, found = workspace.table(), workspace.space, Subnet.from_json(entry)
    alphas = read_record(workspace.run_dir.supernet_record)["alphas"]
    like_ms = entry["predicted_ms"]
    rng = random.Random(f"{workspace.settings.seed}/study/{entry['slug']}")
    rivals = random_subnets(
        space,
        table.predict,
        fastest_ms=(1 - WITHIN) * like_ms,
        slowest_ms=(1 + WITHIN) * like_ms,
        count=3 * NUM_RANDOM,
        rng=rng,
    )
    subnets = {"slimmed": found, "scaled_l1": scaled_l1(space, alphas, table.predict, (1 + WITHIN / 2) * like_ms)}
    subnets |= {f"random-{number}": subnet for number, subnet in enumerate(rivals)}
    resolution = workspace.settings.resolution
    subjects = {
        name: Subject(
            prepare_untrained(workspace, subnet.architecture), workspace.runtime, (1, 3, resolution, resolution)
        )
        for name, subnet in subnets.items()
    }
    with workspace.console.progress("measuring") as progress:
        results = measure_networks(
            subjects,
            workspace.settings.latency_clock,
            workspace.settings.verify.rounds,
            reference="slimmed",
            progress=progress,
        )
    rows = {}
    for name, result in results.items():
        assert result.ratio is not None
        if name.startswith("random") and abs(math.log(result.ratio.p50)) > math.log(1 + WITHIN):
            continue
        if name.startswith("random") and sum(kept.startswith("random") for kept in rows) == NUM_RANDOM:
            continue
        rows[name] = {**subnets[name].to_json(), "p50_ms": result.p50_ms, "ratio": result.ratio.p50}
    return rows


def trained(workspace: Workspace, row: dict[str, Any]) -> float:
    """Top-1 on validation images after training alone; kept, and a begun training goes on."""
    folder = workspace.run_dir.root / "study"
    about = digest([workspace.chosen("resolution", "seed", "train"), workspace.data_digest()])
    journal, key = Journal(folder / "trained.jsonl", about), digest(row["architecture"])
    for line in journal.lines:
        if line["network"] == key:
            return line["top1"]
    network = train_stand_alone(
        workspace,
        Subnet.from_json(row),
        title="training",
        checkpoint=CheckpointFile(folder / "checkpoint.pt", digest([about, key])),
        log=EventLog(folder / "metrics.jsonl"),
    )
    top1 = validate(workspace, network).top1
    journal.add({"network": key, "top1": top1})
    return top1


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds, whose budgets are averaged first, with its 95 % t interval."""
    seeds = sorted({row["seed"] for row in rows})
    means = np.array([np.mean([row["ahead"][name] for row in rows if row["seed"] == seed]) for seed in seeds])
    points, error = float(means.mean()), float(means.std(ddof=1)) / math.sqrt(len(means))
    half = float(t.ppf(0.975, len(means) - 1)) * error
    bar = BARS[name]
    return {"points": points, "interval": [points - half, points + half], "bar": bar, "held": points >= bar}


if __name__ == "__main__":
    main()
