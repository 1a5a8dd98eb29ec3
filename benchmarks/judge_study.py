"""How well do supernets order networks that are equally fast? Asked of the networks that slimming_study.py trained.

    python benchmarks/judge_study.py --study benchmarks/records/slimming_study.json --runs runs/ranking/variant-*

Every run has a trained supernet, such as those of ranking_study.py on the same images. Its word on each network of the
study is correlated with what training alone made of it, within every group of one budget and seed, and over all groups
together once their means are taken off. The outcome goes to benchmarks/records/judge_study.json.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.pipeline.evaluations import Evaluations
from efficientformer.pipeline.run_dir import RunDir
from efficientformer.records import read_record
from efficientformer.search.subnet import Subnet
from studies import open_run, write_outcome

RECORD = Path(__file__).parent / "records" / "judge_study.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="record of slimming_study.py")
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="runs with a trained supernet")
    parser.add_argument("--out", type=Path, default=RECORD)
    arguments = parser.parse_args()
    groups = [list(row["networks"].values()) for row in read_record(arguments.study)["rows"]]
    rows = [judged(RunDir(root), groups) for root in arguments.runs]
    what = "correlation of a supernet's word with training alone, among networks of equal measured latency"
    write_outcome(arguments.out, what, RunDir(arguments.runs[0]), num_networks=sum(map(len, groups)), rows=rows)
    for row in rows:
        sys.stdout.write(f"{row['run']} ({row['supernet']['noise']}): {row['correlation']:.2f}\n")


def judged(run_dir: RunDir, groups: list[list[dict[str, Any]]]) -> dict[str, Any]:
    judge = Evaluations(open_run(run_dir))
    alone = [np.array([network["top1"] for network in group]) for group in groups]
    word = [np.array([judge(Subnet.from_json(network)) for network in group]) for group in groups]
    centered = [np.concatenate([values - values.mean() for values in kind]) for kind in (alone, word)]
    return {
        "run": run_dir.root.name,
        "supernet": read_record(run_dir.supernet_record)["settings"],
        "correlation": float(np.corrcoef(*centered)[0, 1]),
        "within_groups": [float(np.corrcoef(*pair)[0, 1]) for pair in zip(alone, word, strict=True)],
        "judged": [values.tolist() for values in word],
    }


if __name__ == "__main__":
    main()
