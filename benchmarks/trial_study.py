"""Does a short training of a few contenders find better networks than the supernet's word alone?

    python benchmarks/trial_study.py --work runs/study --seeds 0 1 2 --trials 10

Takes the runs that slimming_study.py left in `--work`. For every budget the network that slimming found and its
contenders of the same latency are trained for a short while, as `--slim.trials` does; the best is measured beside the
study's rivals of that budget, trained as they were, and held against them. Rivals whose measured latency is not within
2 % of the new network's are left out. The outcome goes to benchmarks/records/trial_study.json.
"""

import argparse
import random
import sys
from pathlib import Path
from typing import Any

from efficientformer.pipeline.evaluations import Evaluations
from efficientformer.pipeline.run_dir import RunDir
from efficientformer.pipeline.stand_alone import trial_score
from efficientformer.records import Journal, digest, read_record
from efficientformer.search.contenders import contenders
from efficientformer.search.slim import State
from efficientformer.search.subnet import Subnet
from slimming_study import BARS, WITHIN, matched_budgets, measured_alike, subnets_of, summary, trained_alike
from studies import open_run, side_by_side, write_outcome

RECORD = Path(__file__).parent / "records" / "trial_study.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs of slimming_study.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1, help="trainings beside one another")
    parser.add_argument("--out", type=Path, default=RECORD)
    arguments = parser.parse_args()
    roots = {seed: arguments.work / f"seed-{seed}" for seed in arguments.seeds}
    rows = [row for seed, root in roots.items() for row in matched_budgets(RunDir(root), seed)]
    by_run = side_by_side(arguments.processes, drawn_states, [(root, arguments.trials) for root in roots.values()])
    drawn = [states for budgets in by_run for states in budgets]
    trials = [(row["root"], state.subnet) for row, states in zip(rows, drawn, strict=True) for state in states]
    scores = iter(side_by_side(arguments.processes, trial_top1, trials))
    for row, states in zip(rows, drawn, strict=True):
        row["trials"] = [
            {**state.subnet.to_json(), "supernet_top1": state.top1, "trial_top1": next(scores)} for state in states
        ]
        row["networks"] = beside_rivals(row)
    trained = trained_alike(rows, arguments.processes)
    rows = [{**found, "trials": row["trials"]} for found, row in zip(trained, rows, strict=True)]
    found = {name: summary(name, rows) for name in BARS}
    what = "networks of short trials against rivals of equal measured latency, trained alike from new weights"
    write_outcome(
        arguments.out, what, RunDir(roots[arguments.seeds[0]]), num_trials=arguments.trials, ahead=found, rows=rows
    )
    for name, row in found.items():
        sys.stdout.write(f"{name}: {row['points']:+.2f} {row['interval']}, bar {row['bar']:+.1f}\n")


def drawn_states(root: Path, count: int) -> list[list[State]]:
    """For every budget of a run, the network found and its contenders at its own latency."""
    workspace = open_run(RunDir(root))
    table, judge = workspace.table(), Evaluations(workspace)
    return [
        contenders(
            State(Subnet.from_json(entry), entry["predicted_ms"], entry["top1"]),
            workspace.space,
            latency=table.predict,
            accuracy=judge,
            budget_ms=entry["predicted_ms"] * (1 + WITHIN / 2),
            count=count,
            rng=random.Random(f"{workspace.settings.seed}/{entry['slug']}/trials"),
        )
        for entry in read_record(workspace.run_dir.trace)["budgets"]
    ]


def trial_top1(root: Path, subnet: Subnet) -> float:
    return trial_score(open_run(RunDir(root)), subnet, title=str(subnet.architecture))["top1"]


def beside_rivals(row: dict[str, Any]) -> dict[str, Any]:
    """The best of the trials, called slimmed, measured beside the rivals; those as fast as it is, and what slimming had
    found without trials."""
    best = max(row["trials"], key=lambda trial: trial["trial_top1"])
    subnets = subnets_of(row)
    subnets = {"slimmed": Subnet.from_json(best), "without trials": subnets.pop("slimmed"), **subnets}
    about = digest([subnet.to_json() for subnet in subnets.values()])
    run_dir = RunDir(row["root"])
    journal = Journal(run_dir.root / "study" / f"trials-{row['slug']}.jsonl", about)
    if not journal.lines:
        journal.add(measured_alike(open_run(run_dir), subnets))
    return journal.lines[0]


if __name__ == "__main__":
    main()
