"""The paper's headline on this device: networks designed for MobileNetV2's latency beside MobileNetV2, trained alike.

    python benchmarks/studies/headline.py --data imagenette160 --work runs/headline --seeds 0 1 -- preset=standard \\
        resolution=96 supernet.epochs=10 train.epochs=10

On the paper's phone EfficientFormer-L1 is as fast as MobileNetV2 x1.4. This script measures MobileNetV2 x1.0 and x1.4
on the run's runtime, threads and resolution, and searches every space for a network within the latency of each. It
measures them interleaved with other published networks, trains all from new weights by the same settings with every
seed, and scores them on validation images. The recipe is the better one of two, by the mean of two references with the
first seed. Words after `--` are settings of all runs. Finished phases and trainings are kept: the same command resumes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from timm.utils.model import reparameterize_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.latency.prepared import Prepared
from efficientformer.models.create import create_model
from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.measure import prepare_untrained
from efficientformer.reading import read_record
from efficientformer.records import digest, write_record
from efficientformer.run_dir import RunDir
from efficientformer.training.loop import seed_initial_weights
from options import parse
from shared import keep_outcome, measured, shared_run, side_by_side, top1_alone

BUDGETS = ("mobilenetv2_100", "mobilenetv2_140")
"""Networks whose latency is a budget."""
PEERS = ("mobilenetv4_conv_small", "levit_128s", "repvit_m0_9", "efficientformerv2_s0")
REFERENCES = (*BUDGETS, *PEERS)
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"augmentation": "standard", "mixup": 0.0, "cutmix": 0.0, "ema_decay": 0.0},
    "mixed": {"augmentation": "standard", "mixup": 0.2, "cutmix": 0.2, "ema_decay": 0.99},
}
JUDGES = ("mobilenetv2_100", "efficientformerv2_s0")
"""Networks that choose the recipe."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs, one of each space")
    parser.add_argument("--spaces", nargs="+", default=["standard", "v2_standard"], help="names or files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings of each network")
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    parser.add_argument("--only", choices=("budgets", "recipe", "search", "measure"), help="stop after this step")
    arguments, settings = parse(parser)
    settings["data"] = arguments.data
    spaces = {Path(space).stem: space for space in arguments.spaces}
    runs = {name: RunDir(arguments.work / name) for name in spaces}
    first = next(iter(runs.values()))
    verbs.table(run_dir=first.root, **{**settings, "space": arguments.spaces[0]})
    budgets = budgets_ms(first)
    if arguments.only == "budgets":
        return
    recipes = recipe_scores(first, arguments.processes, arguments.seeds[0])
    recipe = max(recipes, key=lambda name: float(np.mean(recipes[name])))
    sys.stdout.write(f"top-1 of {' and '.join(JUDGES)} by recipe: {recipes}; {recipe} it is\n")
    if arguments.only == "recipe":
        return
    settings["budget"] = [f"{latency_ms:.4g}ms" for latency_ms in budgets.values()]
    for name, run_dir in runs.items():
        options = {**settings, "space": spaces[name]}
        for verb in (verbs.table, verbs.supernet, verbs.slim):
            verb(run_dir=run_dir.root, **options)
    if arguments.only == "search":
        return
    rows = measured_rows(first, runs)
    if arguments.only == "measure":
        return
    trainings = [
        (first.root, recipe, seed, name, row.get("architecture"))
        for seed in arguments.seeds
        for name, row in rows.items()
    ]
    scores = iter(side_by_side(arguments.processes, top1, trainings))
    for row in [row for _ in arguments.seeds for row in rows.values()]:
        row.setdefault("top1", []).append(next(scores))
    keep_outcome(
        "headline",
        "networks designed for the latency of MobileNetV2, and published ones, trained alike from new weights",
        first,
        seeds=arguments.seeds,
        budgets_ms=budgets,
        recipes={name: {**options, "top1": recipes[name]} for name, options in RECIPES.items()},
        recipe=recipe,
        networks=rows,
    )
    for name, row in rows.items():
        low, high = row["p50_interval_ms"]
        scores_text = ", ".join(f"{score:.1f}" for score in row["top1"])
        sys.stdout.write(
            f"{name}: {row['p50_ms']:.3f} ms [{low:.3f}, {high:.3f}], {row['macs'] / 1e6:.0f} M MACs, "
            f"top-1 {scores_text}\n"
        )


def budgets_ms(run_dir: RunDir) -> dict[str, float]:
    """Latency of each network of `BUDGETS`, measured once."""
    path = run_dir.root / "references.json"
    if not path.exists():
        with open_run(RunRequest(run_dir=run_dir.root)) as workspace:
            latencies = measured(workspace, prepared_references(workspace, BUDGETS), reference=BUDGETS[-1])
            write_record(path, {name: latencies[name].p50_ms for name in BUDGETS})
    return read_record(path, Any)


def recipe_scores(run_dir: RunDir, processes: int, seed: int) -> dict[str, list[float]]:
    """Top-1 of the judging networks by each recipe."""
    trainings = [(run_dir.root, recipe, seed, name, None) for recipe in RECIPES for name in JUDGES]
    scores = iter(side_by_side(processes, top1, trainings))
    return {recipe: [next(scores) for _ in JUDGES] for recipe in RECIPES}


def measured_rows(run_dir: RunDir, runs: dict[str, RunDir]) -> dict[str, Any]:
    """Latency, size and architecture of every network, measured interleaved, once."""
    path = run_dir.root / "measured.json"
    ours = {
        f"designed for {name} in {space}": Architecture.from_json(entry["architecture"])
        for space, run in runs.items()
        for name, entry in zip(BUDGETS, read_record(run.trace, Any)["budgets"], strict=True)
    }
    about = digest([*REFERENCES, *(architecture.to_json() for architecture in ours.values())])
    if path.exists() and read_record(path, Any)["about"] == about:
        return read_record(path, Any)["rows"]
    with open_run(RunRequest(run_dir=run_dir.root)) as workspace:
        prepared = prepared_references(workspace, REFERENCES)
        prepared |= {name: prepare_untrained(workspace, architecture) for name, architecture in ours.items()}
        measurements = measured(workspace, prepared, reference=BUDGETS[-1])
        rows = {
            name: {
                "p50_ms": measurement.p50_ms,
                "p50_interval_ms": measurement.at("p50")[1],
                "ratio": measurement.ratio and vars(measurement.ratio),
                **costs(workspace, name, ours.get(name)),
            }
            for name, measurement in measurements.items()
        }
    for name, architecture in ours.items():
        rows[name]["architecture"] = architecture.to_json()
    write_record(path, {"about": about, "rows": rows})
    return rows


def prepared_references(workspace: Workspace, names: tuple[str, ...]) -> dict[str, Prepared]:
    """Published networks in the form that their users deploy."""
    return {name: prepared_reference(workspace, name) for name in names}


def prepared_reference(workspace: Workspace, name: str) -> Prepared:
    if name in ZOO:
        return prepare_untrained(workspace, ZOO[name])
    return workspace.runtime.prepare(reparameterize_model(build(workspace, name, None)).eval(), workspace.input_shape)


def build(workspace: Workspace, name: str, architecture: Architecture | None) -> nn.Module:
    num_classes, settings = len(workspace.dataset.classes), workspace.settings
    seed_initial_weights(settings.seed)
    ours = architecture or ZOO.get(name)
    if ours is None:
        sized = {"img_size": settings.resolution} if name.startswith("levit") else {}
        return timm.create_model(name, num_classes=num_classes, **sized)
    return create_model(
        ours,
        num_classes=num_classes,
        resolution=settings.resolution,
        drop_path_rate=settings.train.drop_path_rate,
    )


def costs(workspace: Workspace, name: str, architecture: Architecture | None) -> dict[str, int]:
    model = build(workspace, name, architecture).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(workspace.input_shape))
    return {
        "macs": counter.get_total_flops() // 2,
        "num_params": sum(parameter.numel() for parameter in model.parameters()),
    }


def top1(root: Path, recipe: str, seed: int, name: str, architecture: Any) -> float:
    given = RunDir(root).given_settings()
    workspace = shared_run(root, **merge_given(given, {"seed": seed, "train": RECIPES[recipe]}))
    built = architecture and Architecture.from_json(architecture)
    return top1_alone(workspace, name, architecture or name, lambda: build(workspace, name, built))


if __name__ == "__main__":
    main()
