"""What the studies share: verbs with the options after `--`, one supernet for several runs, networks trained once."""

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t
from torch import nn

from compact import compacted
from efficientformer.cli.app import run as run_verb
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.timing.measure_networks import Subject, measure_networks
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.pipeline.networks.stand_alone import initial_network, stand_alone_score
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.run_dir import RunDir
from efficientformer.search.subnet import Subnet
from naming import keep, slug


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """The script's own arguments, and the words after `--`."""
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]


def verb(name: str, run_dir: Path, options: list[str]) -> None:
    if code := run_verb([name, "--run-dir", str(run_dir), *options]):
        raise SystemExit(code)


def open_run(run_dir: RunDir, **given: Any) -> Workspace:
    """The run with the settings that its verbs got, and the given ones."""
    return Workspace(run_dir, resolve_settings(run_dir.given_settings() | given), RunConsole())


def share(source: RunDir, target: RunDir, paths: list[Path]) -> None:
    """Copy records of one run to another that does not have them."""
    for path in paths:
        copy = target.root / path.relative_to(source.root)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def measured(workspace: Workspace, prepared: Mapping[str, Prepared], reference: str) -> dict[str, Measurement]:
    """Measure the networks interleaved, by the run's clock and in the number of rounds it verifies with."""
    settings = workspace.settings
    shape = (1, 3, settings.resolution, settings.resolution)
    subjects = {name: Subject(network, workspace.runtime, shape) for name, network in prepared.items()}
    with workspace.console.progress("measuring") as progress:
        return measure_networks(
            subjects, settings.latency_clock, settings.verify.rounds, reference=reference, progress=progress
        )


def subnet_top1(root: Path, name: str, subnet: Subnet) -> float:
    workspace = open_run(RunDir(root))
    return top1_alone(workspace, name, subnet.architecture.to_json(), lambda: initial_network(workspace, subnet))


def top1_alone(workspace: Workspace, name: str, what: Any, build: Callable[[], nn.Module]) -> float:
    """Validation top-1 of a network trained from the weights it is built with, by the run's seed; kept in the run."""
    title = f"training {name}, seed {workspace.settings.seed}"
    return stand_alone_score(workspace, workspace.run_dir.root / "study", what, build, title=title)["top1"]


def side_by_side(processes: int, work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """`work` of every call's arguments, in order, in so many processes at a time."""
    if processes == 1:
        return [work(*call) for call in calls]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(work, *call) for call in calls]
        for number, done in enumerate(as_completed(waiting), start=1):
            done.result()
            sys.stdout.write(f"{number} of {len(calls)} done\n")
            sys.stdout.flush()
        return [future.result() for future in waiting]


def keep_outcome(study: str, what: str, run_dir: RunDir, *conditions: str, **found: Any) -> Path:
    """Keep a record of the study, named after the run's images. Its settings name these images, not their folder."""
    given = run_dir.given_settings()
    data = Path(given["data"]).name
    record = {"what": what, "settings": given | {"data": data}, **found}
    space = open_run(run_dir).space
    return keep(study, slug(data), {**compacted(record, space), "provenance": provenance()}, *conditions)


def mean_interval(values: list[float]) -> tuple[float, tuple[float, float]]:
    """The mean with its 95 % t interval."""
    mean, half = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)
    half *= float(t.ppf(0.975, len(values) - 1))
    return mean, (mean - half, mean + half)


def over_seeds(values: Sequence[tuple[int, float]]) -> tuple[float, tuple[float, float]]:
    """The mean over seeds of (seed, value), each seed's values averaged first, with its 95 % t interval."""
    seeds = sorted({seed for seed, _ in values})
    return mean_interval([float(np.mean([value for at, value in values if at == seed])) for seed in seeds])
