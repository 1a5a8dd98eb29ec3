"""A network designed for new photographs from a trained parent, beside one designed from new weights.

    python benchmarks/studies/new_photos.py --parent parent.safetensors --data pets --work runs/pets --epochs 20 \\
        --seeds 0 1 -- resolution=96

Both are whole designs for the same latency, which is a share of the parent's, with every seed. The one from new weights
trains its supernet for the epochs that the parent is fine-tuned for, and its network for as many as the other's. Both
are scored on the same validation images. Words after `--` are settings of all runs. Finished phases are kept: the same
command resumes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from options import parse
from shared import keep_outcome

KEPT = ("budget_ms", "measured_ms", "measured_interval_ms", "kept", "top1", "num_params", "macs", "architecture")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parent", type=Path, required=True, help="weights of a trained network")
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--space", default="v2_standard", help="of the designs from new weights")
    parser.add_argument("--epochs", type=int, default=20, help="of parent or supernet, and of the networks")
    parser.add_argument("--budget", default="50%", help="share of the parent's latency")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments, settings = parse(parser)
    settings["data"] = arguments.data
    rows: dict[str, list[dict[str, Any]]] = {"from the parent": [], "from new weights": []}
    for seed in arguments.seeds:
        shared = merge_given({"seed": seed, "train": {"epochs": arguments.epochs}}, settings)
        inherited, own = (RunDir(arguments.work / f"{name}-{seed}") for name in ("inherited", "own"))
        parent = {"init": str(arguments.parent.resolve()), "epochs": arguments.epochs}
        rows["from the parent"].append(
            designed(inherited, {"preset": "transfer", "budget": arguments.budget, "parent": parent}, shared)
        )
        budget = f"{rows['from the parent'][-1]['budget_ms']:.4g}ms"
        supernet = {"epochs": arguments.epochs}
        rows["from new weights"].append(
            designed(
                own, {"preset": "standard", "space": arguments.space, "budget": budget, "supernet": supernet}, shared
            )
        )
        for name, found in rows.items():
            sys.stdout.write(
                f"seed {seed}, {name}: {found[-1]['measured_ms']:.3f} ms, top-1 {found[-1]['top1']:.1f} %\n"
            )
        sys.stdout.flush()
    keep_outcome(
        "new_photos",
        "networks designed for new photographs from a trained parent and from new weights, for the same latency",
        RunDir(arguments.work / f"own-{arguments.seeds[0]}"),
        parent=arguments.parent.name,
        epochs=arguments.epochs,
        seeds=arguments.seeds,
        networks=rows,
    )


def designed(run: RunDir, own: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """What matters of the only network of a design."""
    verbs.design(run_dir=run.root, **merge_given(own, shared))
    (entry,) = read_record(run.result, Any)
    return {name: entry[name] for name in KEPT}


if __name__ == "__main__":
    main()
