"""Which way of training the supernet ranks networks best? Variants against the same networks trained alone.

    python benchmarks/studies/image_subset.py cifar10 runs/cifar10-mid --train 1000 --val 1000
    python benchmarks/studies/ranking.py --data runs/cifar10-mid --work runs/ranking -- \\
        --preset quick --resolution 32 --rank.networks 24

Options after `--` go to each verb. The networks are drawn by the seed and trained once; every variant trains a supernet
of its own in a run of its own and scores the same networks. The record has Kendall's tau with its interval over
networks, and the tau of latency alone. The same command resumes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from efficientformer.pipeline.phases.rank import alone_score, drawn_subnets
from efficientformer.records import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.subnet import Subnet
from shared import keep_outcome, open_run, parse, share, side_by_side, verb

UNIFORM, GUMBEL = ["--supernet.noise", "uniform"], ["--supernet.noise", "gumbel"]
SOFT, SINGLE = ["--supernet.sampling", "soft"], ["--supernet.sampling", "single"]
VARIANTS: dict[str, list[str]] = {
    "paper: soft mixing, one width": [*SOFT, *UNIFORM, "--supernet.elastic-width", "none"],
    "soft mixing, random widths": [*SOFT, *UNIFORM, "--supernet.elastic-width", "random"],
    "single path, one width": [*SINGLE, *UNIFORM, "--supernet.elastic-width", "none"],
    "single path, random widths": [*SINGLE, *UNIFORM, "--supernet.elastic-width", "random"],
    "single path, sandwich": [*SINGLE, *UNIFORM, "--supernet.elastic-width", "sandwich"],
    "single path, random widths, Gumbel noise": [*SINGLE, *GUMBEL, "--supernet.elastic-width", "random"],
    "path drawn evenly, random widths": ["--supernet.sampling", "even", "--supernet.elastic-width", "random"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    arguments, options = parse(parser)
    options = ["--data", arguments.data, *options]
    first: RunDir | None = None
    rows = []
    for number, name in enumerate(arguments.variants):
        run_dir = RunDir(arguments.work / f"variant-{number}")
        if first is not None:
            share(first, run_dir, [first.table, first.stamp("table"), *first.rank_trained.glob("*.json")])
        rows.append({"variant": name, **ranked(run_dir, [*options, *VARIANTS[name]], arguments.processes)})
        first = first or run_dir
        sys.stdout.write(f"{name}: tau {rows[-1]['kendall_tau']:.2f} {rows[-1]['interval']}\n")
    assert first is not None
    what = "Kendall's tau between what a supernet says of random networks and their top-1 trained alone"
    keep_outcome("ranking", what, first, rows=rows)


def ranked(run_dir: RunDir, options: list[str], processes: int) -> dict[str, Any]:
    for name in ("table", "supernet"):
        verb(name, run_dir.root, options)
    drawn = drawn_subnets(open_run(run_dir))
    side_by_side(processes, train_alone, [(run_dir.root, subnet) for subnet in drawn])
    verb("rank", run_dir.root, options)
    found, supernet = read_record(run_dir.rank), read_record(run_dir.supernet_record)
    return {
        **{name: found[name] for name in ("kendall_tau", "interval", "latency_tau")},
        "num_networks": len(found["networks"]),
        "held_out_top1": supernet["held_out_top1"],
        "networks": [
            {name: row[name] for name in ("latency_ms", "supernet_accuracy", "alone_top1")} for row in found["networks"]
        ],
    }


def train_alone(root: Path, subnet: Subnet) -> None:
    alone_score(open_run(RunDir(root)), subnet, str(subnet.architecture))


if __name__ == "__main__":
    main()
