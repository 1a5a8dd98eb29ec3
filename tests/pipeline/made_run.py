"""A run whose phases are finished as far as their stamps and files go, and ways in which it is out of date."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.corrections import correct
from efficientformer.pipeline.run.outputs import run_network
from efficientformer.pipeline.run.phase import Phase
from efficientformer.pipeline.run.plan import PHASES, SLIM
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.run_network import read_found
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.provenance import FINGERPRINT
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir
from efficientformer.search.subnet import Subnet

GIVEN = {"preset": "quick", "resolution": 16, "budget": ["60%"], "slim": {"trials": 0, "polish": 0}}


class Run:
    """A run whose phases are finished, as far as their stamps and files go."""

    def __init__(self, root: Path, images: Path, **given: Any) -> None:
        self.dir = RunDir(root)
        self.given = {**GIVEN, "data": str(images), **given}
        self.machine = dict.fromkeys(FINGERPRINT, "made up")

    def workspace(self, **changes: Any) -> Workspace:
        given = json.loads(json.dumps({**self.given, **changes}))
        workspace = Workspace(self.dir, resolve_settings(given), RunConsole(quiet=True))
        workspace.__dict__["runtime"] = SimpleNamespace(
            name=workspace.settings.runtime,
            machine=lambda: self.machine,
            describe=lambda: {"name": workspace.settings.runtime, "version": "1"},
        )
        return workspace

    def finish(self, *phases: Phase, text: str = "made") -> None:
        """Do the phases whose settings or inputs have changed; every output has this text."""
        workspace = self.workspace()
        self.dir.remember_settings(self.given, workspace.settings.model_dump(mode="json"))
        for phase in phases or PHASES:
            for network in self.networks(workspace) if phase.each_network else [None]:
                paths = phase.outputs(workspace, network)
                phase.run(workspace, lambda _, paths=paths, phase=phase: self._write(phase, paths, text), network)

    def networks(self, workspace: Workspace) -> list[Any]:
        return [run_network(workspace, found) for found in read_found(self.dir)]

    def stale(self, **changes: Any) -> set[str]:
        """The phases that are out of date, each by what it depends on itself."""
        workspace, names = self.workspace(**changes), set()
        for phase in PHASES:
            network = self.networks(workspace)[0] if phase.each_network else None
            if phase.problem(workspace, network):
                names.add(phase.name)
        return names

    def _write(self, phase: Phase, paths: list[Path], text: str) -> None:
        for path in paths:
            if phase is SLIM:
                value = {"text": "60%", "value": 60.0, "unit": "%"}
                state = {**Subnet.largest(self.workspace().space).to_json(), "accuracy": 50.0}
                entry = {"budget": "60%", "budget_value": value, "slug": "60pct", "budget_ms": 2.0, "target_ms": 2.0}
                entry |= {"step": 0, "predicted_ms": 1.9, "polish": [], "trials": [], "note": text, **state}
                trace = {"metric": "top1", "start": {**state, "latency_ms": 3.0}, "steps": [], "corrections": []}
                write_record(path, {**trace, "budgets": [entry], "num_evaluations": 1})
            else:
                write_record(path, {"note": text})


def draw(root: Path, *classes: str, shade: int = 0) -> Path:
    for part, name in itertools.product(("train", "val"), classes):
        (root / part / name).mkdir(parents=True, exist_ok=True)
        for index in range(4):
            pixels = np.full((16, 16, 3), (10 * index + 100 * (part == "val") + shade) % 256, np.uint8)
            Image.fromarray(pixels).save(root / part / name / f"{index}{'x' * shade}.png")
    return root


def replace_images(run: Run) -> None:
    root = Path(run.given["data"])
    shutil.rmtree(root)
    draw(root, "cat", "dog", shade=3)


def add_class(run: Run) -> None:
    draw(Path(run.given["data"]), "cow")


def other_machine(run: Run) -> None:
    run.machine = {**run.machine, "cpu": "another"}


def break_a_promise(run: Run) -> None:
    correct(run.workspace(), "60pct", 1.1)


def again(*phases: Phase) -> Callable[[Run], None]:
    """The phases are done again, and their files are different ones."""

    def redo(run: Run) -> None:
        for phase in phases:
            for path in run.dir.root.glob(f"stamps/{phase.name}*.json"):
                path.unlink()
            run.finish(phase, text="made again")

    return redo


def interrupted(phase: Phase) -> Callable[[Run], None]:
    """The phase began again, with other settings, and was killed."""

    def begin(run: Run) -> None:
        def work(_: str) -> None:
            raise KeyboardInterrupt

        workspace = run.workspace(
            table={"rounds": 99}, supernet={"epochs": 99}, train={"epochs": 99}, export={"dynamic_batch": True}
        )
        network = run.networks(workspace)[0] if phase.each_network else None
        with pytest.raises(KeyboardInterrupt):
            phase.run(workspace, work, network)

    return begin


def edited(name: str) -> Callable[[Run], None]:
    return lambda run: (run.dir.root / name).write_text('{"note": "by hand"}')


def deleted(name: str) -> Callable[[Run], None]:
    return lambda run: (run.dir.root / name).unlink()


NETWORK = "networks/60pct"
SUPERNET_AGAIN = r"slim/trace.json is out of date \(supernet/weights.safetensors changed\). Run 'efficientformer slim "
