"""Made up runs, and trainings of runs that stop where their loop would begin."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.sample import load_sample
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline.networks import elastic, stand_alone
from efficientformer.pipeline.networks.parent import fine_tuned_parent
from efficientformer.pipeline.phases import slim, supernet
from efficientformer.pipeline.run import fit_images, outputs
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import merge_given, resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming import recovery, rounds
from efficientformer.pipeline.slimming.oracles import build_supernet
from efficientformer.run_dir import RunDir
from efficientformer.search.candidates import State
from efficientformer.search.subnet import Subnet
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog

from ..models.small import SMALL
from .made_run import Run, draw
from .started import BASE, Reached, Training


@pytest.fixture
def images(tmp_path) -> Path:
    return draw(tmp_path / "images", "cat", "dog")


@pytest.fixture
def run(tmp_path, images) -> Run:
    run = Run(tmp_path / "run", images)
    run.finish()
    return run


@pytest.fixture
def stub(monkeypatch):
    """A table that fits any device, and no network that cannot be reached."""
    table = SimpleNamespace(check_device=lambda *_: None, check_error=lambda _: None)
    monkeypatch.setattr(outputs.LatencyTable, "load", lambda _: table)
    for module in (slim, supernet):
        monkeypatch.setattr(module, "require_reachable", lambda *_: None)


@pytest.fixture(scope="module")
def few_images():
    """A tenth of the shipped images: 50 of each class to train with."""
    sample = load_sample()
    indices = [index for label in range(10) for index in np.flatnonzero(np.array(sample.train.labels) == label)[:50]]
    train, val = sample.train.subset(indices), sample.val.subset(range(50))
    return replace(sample, train=train, val=val)


@pytest.fixture
def started(few_images, monkeypatch, tmp_path):
    """Starts a training with some settings: of the network, the supernet, the parent, networks below it, a trial or a
    recovery."""

    def stop(*arguments, **options):
        raise Reached(*arguments, **options)

    monkeypatch.setattr(fit_images, "fit", stop)

    def start(kind: str, given: dict[str, Any], dataset: Any = few_images) -> Training:
        parent = {"parent": {"init": str(tmp_path / "parent.safetensors")}} if kind == "parent" else {}
        settings = resolve_settings(merge_given(BASE, parent, given))
        workspace = Workspace(RunDir(tmp_path / "run"), settings, RunConsole(quiet=True))
        workspace.__dict__["dataset"] = dataset
        checkpoint = CheckpointFile(tmp_path / "checkpoint.pt", "run")
        log, subnet = MetricsLog(tmp_path / "metrics.jsonl"), Subnet.largest(workspace.space)
        monkeypatch.setattr(stand_alone, "load_supernet", lambda run, _: build_supernet(run))
        with pytest.raises(Reached) as reached:
            if kind == "supernet":
                supernet._train(workspace, "run")
            elif kind == "parent":
                save_weights(Network(SMALL, num_classes=7, resolution=16), tmp_path / "parent.safetensors")
                fine_tuned_parent(workspace, "run")
            elif kind == "elastic":
                batch = torch.randn(4, 3, 16, 16), torch.arange(4)
                monkeypatch.setattr(elastic, "importance_batches", lambda _: [batch])
                elastic.train_elastically(workspace, build_supernet(workspace), "run")
            elif kind == "round":
                monkeypatch.setattr(rounds, "load_supernet", build_supernet)
                monkeypatch.setattr(rounds, "estimating_images", lambda _: [torch.randn(4, 3, 16, 16)])
                save_weights(Network(SMALL, num_classes=10, resolution=16), workspace.run_dir.parent_weights)
                rounds.HalfWay(workspace, None, "run").train(Subnet.smallest(workspace.space))  # type: ignore[arg-type]
            elif kind == "trial":
                stand_alone.trial_score(workspace, subnet, title="trial")
            elif kind == "recovery":
                scorer: Any = SimpleNamespace(supernet=build_supernet(workspace))
                every = workspace.settings.slim.recover_every
                recovery.Recovery(workspace, scorer, "run").after(every, None, State(subnet, 1.0, 50.0))
            else:
                network = stand_alone.initial_network(workspace, subnet)
                stand_alone.train_images(workspace, network, title="training", checkpoint=checkpoint, log=log)
        return Training(workspace, reached.value)

    return start


@pytest.fixture
def taught(tmp_path):
    """A teacher of the images' classes, and a folder of photographs without labels."""
    (tmp_path / "more").mkdir()
    for index in range(60):
        Image.new("RGB", (20, 20), (index, 0, 0)).save(tmp_path / "more" / f"{index}.png")
    save_weights(Network(SMALL, num_classes=10, resolution=16), tmp_path / "teacher.safetensors")
    return {"teacher": str(tmp_path / "teacher.safetensors"), "unlabelled": str(tmp_path / "more")}
