"""What the studies share: verbs with the options behind `--`, one supernet for several runs, networks trained once."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t
from torch import nn

from efficientformer.cli.app import run as run_verb
from efficientformer.pipeline.console import RunConsole
from efficientformer.pipeline.run_dir import RunDir
from efficientformer.pipeline.settings import resolve_settings
from efficientformer.pipeline.stand_alone import train_network, validate
from efficientformer.pipeline.workspace import Workspace
from efficientformer.records import Journal, digest
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.events import EventLog


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """The script's own arguments, and what follows `--`."""
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]


def verb(name: str, run_dir: Path, options: list[str]) -> None:
    if code := run_verb([name, "--run-dir", str(run_dir), *options]):
        raise SystemExit(code)


def open_run(run_dir: RunDir, **given: Any) -> Workspace:
    """The run with the settings that its verbs were given, and further ones."""
    return Workspace(run_dir, resolve_settings(run_dir.given_settings() | given), RunConsole())


def share(source: RunDir, target: RunDir, paths: list[Path]) -> None:
    """Records of one run for another, where that does not have them."""
    for path in paths:
        copy = target.root / path.relative_to(source.root)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def top1_alone(workspace: Workspace, folder: Path, name: str, what: Any, build: Callable[[], nn.Module]) -> float:
    """Top-1 on validation images of a network trained from the weights it is built with, by the run's seed.

    `what` tells it from others in `folder`, where the score is kept; a training that was begun goes on.
    """
    about = digest([workspace.chosen("resolution", "train"), workspace.data_digest()])
    journal, key = Journal(folder / "trained.jsonl", about), digest([what, workspace.settings.seed])
    for line in journal.lines:
        if line["network"] == key:
            return line["top1"]
    network = train_network(
        workspace,
        build(),
        title=f"training {name}, seed {workspace.settings.seed}",
        checkpoint=CheckpointFile(folder / "checkpoint.pt", digest([about, key])),
        log=EventLog(folder / "metrics.jsonl"),
    )
    top1 = validate(workspace, network).top1
    journal.add({"network": key, "name": name, "seed": workspace.settings.seed, "top1": top1})
    return top1


def mean_interval(values: list[float]) -> tuple[float, tuple[float, float]]:
    """The mean with its 95 % t interval."""
    mean, half = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)
    half *= float(t.ppf(0.975, len(values) - 1))
    return mean, (mean - half, mean + half)
