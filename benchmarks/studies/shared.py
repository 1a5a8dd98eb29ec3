"""What the studies share: one supernet for several runs, networks that are trained once, means with intervals."""

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
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.timing.measure_networks import Subject, measure_networks
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.pipeline.networks.stand_alone import initial_network, stand_alone_score
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.open_run import RunRequest
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.run_dir import RunDir
from efficientformer.search.subnet import Subnet
from naming import keep, slug


def shared_run(root: Path, **given: Any) -> Workspace:
    """A run without its lock, for several processes at a time: with the settings of its verbs, and the given ones."""
    return Workspace(RunDir(root), RunRequest(Settings(**given), root).resolved(), RunConsole())


def share(source: RunDir, target: RunDir, paths: list[Path]) -> None:
    """Copy records of one run to another that does not have them."""
    for path in paths:
        copy = target.root / path.relative_to(source.root)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def measured(workspace: Workspace, prepared: Mapping[str, Prepared], reference: str) -> dict[str, Measurement]:
    """Measure the networks interleaved, with the clock and the number of rounds of the run's verification."""
    settings = workspace.settings
    subjects = {name: Subject(network, workspace.runtime, workspace.input_shape) for name, network in prepared.items()}
    with workspace.console.progress("measuring") as progress:
        return measure_networks(
            subjects, settings.latency_clock, settings.verify.rounds, reference=reference, progress=progress
        )


def subnet_top1(root: Path, name: str, subnet: Subnet) -> float:
    """Validation top-1 of a subnet after training by the run's settings; kept in the run."""
    workspace = shared_run(root)
    return top1_alone(workspace, name, subnet.architecture.to_json(), lambda: initial_network(workspace, subnet))


def top1_alone(workspace: Workspace, name: str, what: Any, build: Callable[[], nn.Module]) -> float:
    """Validation top-1 of a network after training from the weights that `build` gives it; kept in the run."""
    title = f"training {name}, seed {workspace.settings.seed}"
    return stand_alone_score(workspace, workspace.run_dir.root / "study", what, build, title=title)["top1"]


def side_by_side(processes: int, work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Results of `work` for the arguments of every call, in order; `processes` calls run at a time."""
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
    """Keep a record of the study, named after the run's images."""
    given = run_dir.given_settings()
    data = Path(given["data"]).name
    record = {"what": what, "settings": without_folders(given) | {"data": data}, **found}
    space = shared_run(run_dir.root).space
    return keep(study, slug(data), {**compacted(record, space), "provenance": provenance()}, *conditions)


def without_folders(given: dict[str, Any]) -> dict[str, Any]:
    """Given settings in which a parent's file has its name, not its path."""
    parent = given.get("parent", {})
    return given | {"parent": {**parent, "init": Path(parent["init"]).name}} if "init" in parent else given


def mean_interval(values: list[float]) -> tuple[float, tuple[float, float]]:
    """The mean with its 95 % t interval."""
    mean, half = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)
    half *= float(t.ppf(0.975, len(values) - 1))
    return mean, (mean - half, mean + half)


def over_seeds(values: Sequence[tuple[int, float]]) -> tuple[float, tuple[float, float]]:
    """The mean over seeds of (seed, value), each seed's values averaged first, with its 95 % t interval."""
    seeds = sorted({seed for seed, _ in values})
    return mean_interval([float(np.mean([value for at, value in values if at == seed])) for seed in seeds])
