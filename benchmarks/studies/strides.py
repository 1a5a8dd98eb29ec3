"""Do larger steps find worse networks, and how much time do they save? Slimming by several strides, same supernets.

    python benchmarks/studies/strides.py runs/seed-10 runs/seed-11 --stride 0 --stride 0.1 --stride 0.2

Each run directory has a table and a supernet. Slims the largest network to the run's budgets by predicted latency with
all actions, polishes as `slim` does, and scores the results with the supernet. Nothing is timed or trained.
"""

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.search.candidates import State
from efficientformer.search.importance import path_importances
from efficientformer.search.polish import polish
from efficientformer.search.slim import save_at_least, shortest, slim, stride_ms
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import weigh_in_turn, weigh_lazily
from naming import keep

POLISH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument(
        "--stride", type=float, action="append", required=True, help="share of the latency; 0 is one action"
    )
    parser.add_argument("--lazy", action="store_true", help="skip expensive actions, as --slim.lazy does")
    arguments = parser.parse_args()
    rows = []
    for root in arguments.runs:
        with open_run(RunRequest(run_dir=root)) as workspace:
            scorer, space, resolution = CachedScorer(workspace), workspace.space, workspace.settings.resolution
            for stride in arguments.stride:
                rows += (found := descend(workspace, scorer, stride, lazy=arguments.lazy))
                sys.stdout.writelines(f"{root.name} {row}\n" for row in found)
                sys.stdout.flush()
    record = {
        "what": "supernet likelihood of the networks that descents of several strides find, from the same supernets",
        "setting": {"lazy": arguments.lazy, "polish": POLISH, "runs": [root.name for root in arguments.runs]},
        "rows": rows,
        "provenance": provenance(),
    }
    keep("strides", f"{space.name}_{resolution}px", record, "lazy" if arguments.lazy else "")


def descend(workspace: Workspace, scorer: CachedScorer, stride: float, *, lazy: bool) -> list[dict[str, Any]]:
    """One row per budget. Scores of earlier descents are reused, so seconds depend on the order of the strides."""
    table, space, settings = load_table(workspace), workspace.space, workspace.settings
    scored: set[Subnet] = set()
    target_ms = 0.0

    def if_at_least(subnet: Subnet, least_accuracy: float) -> float | None:
        scored.add(subnet)
        return scorer.if_at_least(subnet, least_accuracy)

    def least_saving(latency_ms: float) -> float:
        return stride_ms(stride, latency_ms, target_ms)

    largest = Subnet.largest(space)
    state = State(largest, table.predict(largest.architecture), scorer(largest))
    weigh = weigh_lazily(table.predict, if_at_least, {}) if lazy else weigh_in_turn(table.predict, if_at_least)
    steps = slim(
        state,
        path_importances(read_record(workspace.run_dir.supernet_record, Any)["alphas"]),
        space,
        weigh,
        action_set="every",
        stride=save_at_least(least_saving, table.predict) if stride else shortest,
    )
    rows, number, started = [], 0, time.monotonic()
    targets = [
        budget.latency_ms(table.largest.measured_ms) * (1 - settings.slim.headroom) for budget in workspace.budgets
    ]
    for budget, target_ms in sorted(zip(workspace.budgets, targets, strict=True), key=lambda pair: -pair[1]):
        while state.latency_ms > target_ms:
            state, number = next(steps).state, number + 1
        polished = polish(
            state,
            space,
            latency=table.predict,
            accuracy=scorer,
            budget_ms=target_ms,
            num_evaluations=POLISH,
            rng=random.Random(settings.seed),
        )
        best = [state, *polished][-1]
        rows.append(
            {
                "seed": settings.seed,
                "budget": budget.text,
                "stride": stride,
                "step": number,
                "num_judged": len(scored),
                "latency_over_target": state.latency_ms / target_ms,
                "accuracy": state.accuracy,
                "polished_accuracy": best.accuracy,
                "polished_top1": scorer.score(best.subnet).primary,
                "seconds": round(time.monotonic() - started, 1),
            }
        )
    return rows


if __name__ == "__main__":
    main()
