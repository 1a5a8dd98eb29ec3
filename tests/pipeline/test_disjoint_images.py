"""Which images each phase reads, by their files: those that train, those that score, and those that validate."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from efficientformer.arch.spaces import V2_QUICK
from efficientformer.data.dataset import ImageSplit
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline.networks import stand_alone
from efficientformer.pipeline.networks.trained import evaluate_network
from efficientformer.pipeline.phases import supernet
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming import recovery, rounds
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.recovery import Recovery
from efficientformer.pipeline.slimming.rounds import HalfWay
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.candidates import State
from efficientformer.search.subnet import Subnet
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog

SMALLEST = Subnet.smallest(V2_QUICK)
PER_CLASS, HELD_OUT = 70, 0.5


class Read:
    """Files of images that were read, by what they were read for."""

    def __init__(self) -> None:
        self.files: dict[str, set[str]] = defaultdict(set)
        self.purpose = "other"

    @contextmanager
    def during(self, purpose: str) -> Iterator[None]:
        before, self.purpose = self.purpose, purpose
        yield
        self.purpose = before


@pytest.fixture
def read(monkeypatch) -> Read:
    read, image = Read(), ImageSplit.image

    def noted(self, index, at_least=None):
        read.files[read.purpose].add(self.name(index))
        return image(self, index, at_least)

    def training(fit):
        def fit_images(*arguments, **options):
            with read.during("training"):
                return fit(*arguments, **options)

        return fit_images

    monkeypatch.setattr(ImageSplit, "image", noted)
    for module in (supernet, stand_alone, recovery, rounds):
        monkeypatch.setattr(module, "fit_images", training(module.fit_images))
    return read


@pytest.fixture(params=["split by folders", "split by the program"])
def workspace(request, tmp_path) -> Workspace:
    has_split = request.param == "split by folders"
    generator = np.random.default_rng(0)
    for part, name in itertools.product(("train", "val") if has_split else ("",), ("cat", "dog")):
        folder = tmp_path / "images" / part / name
        folder.mkdir(parents=True)
        for index in range(PER_CLASS if part != "val" else 10):
            pixels = generator.integers(256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    given = {
        **{"preset": "quick", "space": "v2_quick", "data": str(tmp_path / "images"), "resolution": 16},
        "supernet": {"epochs": 1, "batch_size": 16, "held_out": HELD_OUT},
        "slim": {"bn_images": 0, "polish": 0, "trials": 2, "trial_epochs": 1, "recover_every": 1, "recover_steps": 3},
        "train": {"epochs": 1, "batch_size": 16, "ema_decay": 0.0},
        "parent": {"round_epochs": 1, "batch_size": 16},
    }
    return Workspace(RunDir(tmp_path / "run"), resolve_settings(given), RunConsole(quiet=True))


def names(split: ImageSplit) -> set[str]:
    return {split.name(index) for index in range(len(split))}


@pytest.fixture
def halves(workspace) -> tuple[set[str], set[str]]:
    """Training and validation images."""
    train, val = names(workspace.dataset.train), names(workspace.dataset.val)
    assert train and val and not train & val
    return train, val


def test_no_image_trains_the_search_and_scores_it_or_validates_what_it_finds(read, workspace, halves):
    train, val = halves
    # All training images are decoded at once; what is read from memory then has the same names.
    assert names(workspace.training_images) == train
    with read.during("scoring"):
        supernet.run(workspace)
    trained, scored = read.files["training"], read.files["scoring"]
    assert len(scored) == round(HELD_OUT * len(train)) >= 50 and trained and not trained & scored
    assert trained | scored <= train and not (trained | scored) & val

    # A subnet is scored on the same images, by the supernet and after a short training of its own.
    read.files.clear()
    scorer = CachedScorer(workspace)
    with read.during("scoring"):
        scorer.score(SMALLEST)
    with read.during("trial"):
        stand_alone.trial_score(workspace, SMALLEST, title="trial")
    assert read.files["scoring"] == read.files["trial"] == scored
    assert read.files["training"] and not read.files["training"] & (scored | val)

    # Weights that are trained between the steps of slimming never see them either.
    read.files.clear()
    Recovery(workspace, scorer, "about").after(1, None, State(SMALLEST, 1.0, 50.0))
    assert read.files["training"] and not read.files["training"] & (scored | val)
    read.files.clear()
    save_weights(create_model(SMALLEST.architecture, num_classes=2, resolution=16), workspace.run_dir.parent_weights)
    with read.during("estimating"):
        HalfWay(workspace, scorer, "about").train(SMALLEST)
    assert read.files["training"] and read.files.keys() == {"training", "estimating"}
    assert not (read.files["training"] | read.files["estimating"]) & (scored | val)


def test_a_trained_network_is_scored_on_all_validation_images_and_on_no_other(read, workspace, halves):
    train, val = halves
    files = workspace.run_dir.network("8ms")
    network = create_model(SMALLEST.architecture, num_classes=2, resolution=16)
    save_weights(network, files.weights)
    with read.during("evaluation"):
        evaluate_network(workspace, RunNetwork("8ms", "8ms", SMALLEST.architecture, files, {}))
    assert read.files == {"evaluation": val}
    record = read_record(files.evaluation, dict)
    assert sum(map(sum, record["confusion"])) == len(val)

    # Training reads all training images; validation images are for the log alone.
    read.files.clear()
    checkpoint, log = CheckpointFile(files.checkpoint, "about"), MetricsLog(files.metrics)
    seen = SimpleNamespace(on_epoch=None)
    fit = stand_alone.fit_images

    def without_scores(*arguments, **options):
        seen.on_epoch = options.pop("on_epoch")
        return fit(*arguments, **options)

    stand_alone.fit_images = without_scores
    try:
        stand_alone.train_images(workspace, network, title="training", checkpoint=checkpoint, log=log)
    finally:
        stand_alone.fit_images = fit
    assert read.files["training"] <= train and not read.files["training"] & val
    read.files.clear()
    seen.on_epoch(1, network)
    assert read.files == {"other": val}


def test_the_images_that_judge_epochs_are_neither_trained_on_nor_validated_on(read, workspace, halves, monkeypatch):
    train, val = halves
    settings = workspace.settings.train.model_copy(update={"patience": 1, "evaluate_every": 1})
    judged = replace(workspace, settings=workspace.settings.model_copy(update={"train": settings}))
    scores = stand_alone.scores_on

    def noted(workspace, network, images):
        with read.during("validating" if images is workspace.dataset.val else "judging"):
            return scores(workspace, network, images)

    monkeypatch.setattr(stand_alone, "scores_on", noted)
    files = workspace.run_dir.network("8ms")
    network = create_model(SMALLEST.architecture, num_classes=2, resolution=16)
    checkpoint, log = CheckpointFile(files.checkpoint, "about"), MetricsLog(files.metrics)
    stand_alone.train_images(judged, network, title="training", checkpoint=checkpoint, log=log)
    assert read.files["validating"] == val
    assert len(read.files["judging"]) == round(HELD_OUT * len(train)) and read.files["judging"] < train
    assert read.files["training"] <= train and not read.files["training"] & read.files["judging"]
