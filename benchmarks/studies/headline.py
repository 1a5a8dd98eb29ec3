"""The paper's headline on this device: networks designed for MobileNetV2's latency against MobileNetV2, trained alike.

    python benchmarks/studies/headline.py --data imagenette160 --work runs/headline --seeds 3 -- preset=standard \\
        resolution=64 supernet.epochs=20 train.epochs=20 train.lr_warmup_epochs=2

On the paper's phone EfficientFormer-L1 is as fast as MobileNetV2 x1.4. This script measures timm's MobileNetV2 x1.0 and
x1.4 on the run's runtime, threads and resolution, and searches for a network within the latency of each. It measures
all four and L1 interleaved, trains the four from new weights by the same settings with every seed, and scores them on
validation images. Words after `--` are settings of the run. Finished phases and trainings are kept: the same command
resumes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.models.create import create_model
from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.measure import prepare_untrained
from efficientformer.reading import read_record
from efficientformer.records import digest, write_record
from efficientformer.run_dir import RunDir
from efficientformer.training.loop import seed_initial_weights
from options import parse
from shared import keep_outcome, measured, shared_run, side_by_side, top1_alone

REFERENCES = {"mobilenetv2_100": "MobileNetV2 x1.0", "mobilenetv2_140": "MobileNetV2 x1.4"}
L1 = "efficientformer_l1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network")
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    parser.add_argument("--measure-only", action="store_true", help="stop before the trainings, to train elsewhere")
    arguments, settings = parse(parser)
    run_dir = RunDir(arguments.work)
    settings["data"] = arguments.data
    verbs.table(run_dir=run_dir.root, **settings)
    budgets = budgets_ms(run_dir)
    settings["budget"] = [f"{latency_ms:.4g}ms" for latency_ms in budgets.values()]
    verbs.supernet(run_dir=run_dir.root, **settings)
    verbs.slim(run_dir=run_dir.root, **settings)
    rows = measured_rows(run_dir, list(budgets))
    if arguments.measure_only:
        return
    trainings = [
        (run_dir.root, seed, name, row.get("architecture"))
        for name, row in rows.items()
        if name != L1
        for seed in range(arguments.seeds)
    ]
    scores = iter(side_by_side(arguments.processes, top1, trainings))
    for name, row in rows.items():
        if name != L1:
            row["top1"] = [next(scores) for _ in range(arguments.seeds)]
            row["mean_top1"] = float(np.mean(row["top1"]))
    keep_outcome(
        "headline",
        "networks designed for the latency of MobileNetV2, and MobileNetV2, trained alike from new weights",
        run_dir,
        seeds=arguments.seeds,
        budgets_ms=budgets,
        networks=rows,
    )
    for name, row in rows.items():
        low, high = row["p50_interval_ms"]
        scores = ", ".join(f"{score:.1f}" for score in row.get("top1", [])) or "-"
        sys.stdout.write(
            f"{name}: {row['p50_ms']:.3f} ms [{low:.3f}, {high:.3f}], {row['macs'] / 1e6:.0f} M MACs, top-1 {scores}\n"
        )


def budgets_ms(run_dir: RunDir) -> dict[str, float]:
    """Latency of each reference, measured once."""
    path = run_dir.root / "references.json"
    if not path.exists():
        with open_run(RunRequest(run_dir=run_dir.root)) as workspace:
            latencies = measured_with_references(workspace, {})
            write_record(path, {name: latencies[name].p50_ms for name in REFERENCES})
    return read_record(path, Any)


def measured_rows(run_dir: RunDir, references: list[str]) -> dict[str, Any]:
    """Latency, size and architecture of every network, measured interleaved, once."""
    path = run_dir.root / "measured.json"
    with open_run(RunRequest(run_dir=run_dir.root)) as workspace:
        entries = zip(references, read_record(run_dir.trace, Any)["budgets"], strict=True)
        ours = {f"designed for {name}": Architecture.from_json(entry["architecture"]) for name, entry in entries}
        about = digest([architecture.to_json() for architecture in ours.values()])
        if not path.exists() or read_record(path, Any)["about"] != about:
            rows = {
                name: {
                    "p50_ms": measurement.p50_ms,
                    "p50_interval_ms": measurement.at("p50")[1],
                    "ratio": measurement.ratio and vars(measurement.ratio),
                    **costs(workspace, name, ours.get(name)),
                }
                for name, measurement in measured_with_references(workspace, ours).items()
            }
            for name, architecture in ours.items():
                rows[name]["architecture"] = architecture.to_json()
            write_record(path, {"about": about, "rows": rows})
    return read_record(path, Any)["rows"]


def measured_with_references(workspace: Workspace, ours: dict[str, Architecture]) -> dict[str, Measurement]:
    """The references, L1 and our networks in the same rounds."""
    num_classes = len(workspace.dataset.classes)
    prepared = {
        name: workspace.runtime.prepare(timm.create_model(name, num_classes=num_classes).eval(), workspace.input_shape)
        for name in REFERENCES
    }
    for name, architecture in {L1: ZOO[L1], **ours}.items():
        prepared[name] = prepare_untrained(workspace, architecture)
    return measured(workspace, prepared, reference="mobilenetv2_140")


def build(workspace: Workspace, name: str, architecture: Architecture | None) -> nn.Module:
    num_classes, settings = len(workspace.dataset.classes), workspace.settings
    seed_initial_weights(settings.seed)
    if name in REFERENCES:
        return timm.create_model(name, num_classes=num_classes)
    return create_model(
        ZOO[L1] if architecture is None else architecture,
        num_classes=num_classes,
        resolution=settings.resolution,
        drop_path_rate=settings.train.drop_path_rate,
    )


def top1(root: Path, seed: int, name: str, architecture: Any) -> float:
    workspace = shared_run(root, seed=seed)
    built = architecture and Architecture.from_json(architecture)
    return top1_alone(workspace, name, architecture or name, lambda: build(workspace, name, built))


def costs(workspace: Workspace, name: str, architecture: Architecture | None) -> dict[str, int]:
    model = build(workspace, name, architecture).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(workspace.input_shape))
    return {
        "macs": counter.get_total_flops() // 2,
        "num_params": sum(parameter.numel() for parameter in model.parameters()),
    }


if __name__ == "__main__":
    main()
