"""How far a small network gets from new weights by the package's own commands, with the curve of its scores.

    python benchmarks/studies/from_new_weights.py --data cifar10 --work runs/cifar10 -- train.epochs=36

A network of EfficientFormerV2's blocks for images of 32 px, as slimming left it in a space of such blocks. Processes of
torchrun train it together by `train --init`; the same command without torchrun scores it on the validation images,
exports it and measures the file. Words after `--` are settings of the training. The same command resumes.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from efficientformer.arch.cost import network_cost
from efficientformer.arch.spec import FFN, Architecture, AttnFFN, Stage
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.reading import read_record
from efficientformer.records import write_text
from efficientformer.run_dir import RunDir
from options import parse
from shared import keep_outcome

RESOLUTION = 32
NETWORK = Architecture(
    (
        Stage(16, (FFN(mlp_ratio=4),)),
        Stage(32, (FFN(mlp_ratio=4),)),
        Stage(96, (FFN(mlp_ratio=4),) * 3),
        Stage(112, (AttnFFN(mlp_ratio=4),) * 2),
    ),
    stem_strides=(1, 1),
)
RECIPE: dict[str, Any] = {
    "preset": "standard",
    "resolution": RESOLUTION,
    "workers": 0,
    "training_threads": 1,
    "train": {
        "batch_size": 128,
        "lr": 2e-3,
        "weight_decay": 0.05,
        "lr_warmup_epochs": 2.0,
        "augmentation": "light",
        "mixup": 0.0,
        "cutmix": 0.0,
        "ema_decay": 0.998,
        "evaluate_every": 2,
    },
}
"""The epochs are too few for mixing, and the images too small for the crops of `standard`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the new weights and of the run")
    parser.add_argument("--processes", type=int, default=2, help="that train the network together")
    arguments, settings = parse(parser)
    run = RunDir(arguments.work / "run")
    train = command(arguments.data, arguments.work, run, merge_given(RECIPE, settings))
    subprocess.run(["torchrun", "--nproc-per-node", str(arguments.processes), "--no-python", *train], check=True)
    subprocess.run(train, check=True)
    (folder,) = (run.root / "networks").iterdir()
    score = read_record(folder / "evaluation.json", Any)["top1"]
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = [[row["epoch"], row["val_top1"]] for row in logged if "val_top1" in row]
    num_classes = len(read_record(run.data, Any)["classes"])
    seconds = read_record(folder / "train.json", Any)["seconds"]
    sys.stdout.write(f"{score:.2f} % top-1 after {seconds / 60:.0f} min\n")
    keep_outcome(
        "from_new_weights",
        "a network for images of 32 px from new weights, with the curve of its scores",
        run,
        network=NETWORK.to_json(),
        macs=network_cost(NETWORK, resolution=RESOLUTION, num_classes=num_classes).macs,
        processes=arguments.processes,
        curve=curve,
        seconds=seconds,
        top1=score,
    )


def command(data: str, work: Path, run: RunDir, settings: dict[str, Any]) -> list[str]:
    """The command that trains, whose new weights and settings are written once."""
    weights, config = work / "new.safetensors", work / "settings.yaml"
    work.mkdir(parents=True, exist_ok=True)
    write_text(config, yaml.safe_dump(settings))
    if not weights.exists():
        torch.manual_seed(settings.get("seed", 0))
        save_weights(create_model(NETWORK, num_classes=1, resolution=RESOLUTION), weights, {})
    given = {"--init": weights, "--data": data, "--config": config, "--run-dir": run.root}
    return ["efficientformer", "train", *(str(word) for option in given.items() for word in option)]


if __name__ == "__main__":
    main()
