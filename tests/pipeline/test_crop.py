"""The share of an image that finished networks see: in scores, in exported files, and nowhere else."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import UsageError
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline.exported.evaluate_model import evaluate_model
from efficientformer.pipeline.networks import trained
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.plan import EVALUATE, EXPORT, TRAIN
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.stamps import stamp_changes
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir

from ..models.small import SMALL


@pytest.fixture
def photos(tmp_path):
    """Photographs of 48 px whose center of two thirds of the side has another color than the rest."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(6):
            pixels = generator.integers(0, 255, 3) * np.ones((48, 48, 1))
            pixels[8:40, 8:40] = generator.integers(0, 255, 3)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


@pytest.fixture
def open_with(photos, tmp_path):
    def open_with(**given):
        given = {"data": str(photos), "resolution": 32, "val_fraction": 0.5, "export": {"autotune": False}, **given}
        return Workspace(RunDir(tmp_path / "run"), resolve_settings(given), RunConsole(quiet=True))

    return open_with


def test_scores_and_exported_files_have_it_and_no_training_is_repeated(open_with, tmp_path, photos, monkeypatch):
    files = RunDir(tmp_path / "run").network("8ms")
    save_weights(Network(SMALL, num_classes=2, resolution=32), files.weights)
    network = RunNetwork("8ms", "8ms", SMALL, files, {})
    seen = []
    evaluate = trained.validation_scores

    def noting(task, model, batches, *others):
        batches = list(batches)
        seen.append(batches[0].images)
        return evaluate(task, model, batches, *others)

    monkeypatch.setattr(trained, "validation_scores", noting)
    stamps = []
    for crop in (None, 0.5):
        workspace = open_with(crop=crop)
        trained.evaluate_network(workspace, network)
        trained.export_network(workspace, network)
        metadata = {entry.key: entry.value for entry in onnx.load(files.onnx).metadata_props}
        assert json.loads(metadata["preprocessing"])["crop_ratio"] == (crop or 0.95)
        scored = read_record(files.evaluation, dict)
        assert evaluate_model(files.onnx, workspace.settings)["confusion"] == scored["confusion"]
        stamps.append([phase.stamp(workspace, network).to_json() for phase in (TRAIN, EVALUATE, EXPORT)])
        assert workspace.preprocessing.crop_ratio == 0.95, "training and search see what they always do"
    # The color of the center fills a part of what is seen, and then all of it.
    assert len(seen) == 2 and (seen[0][..., 0, :] != seen[0][..., 16, :]).any()
    assert (seen[1] == seen[1][..., 16:17, 16:17]).all()
    changes = [stamp_changes(before, after) for before, after in zip(*stamps, strict=True)]
    assert changes == [[], ["crop changed from None to 0.5"], ["the metadata changed"]]


def test_a_file_is_scored_with_another_crop_on_request(open_with, tmp_path, photos, monkeypatch):
    files = RunDir(tmp_path / "run").network("8ms")
    save_weights(Network(SMALL, num_classes=2, resolution=32), files.weights)
    trained.export_network(open_with(), RunNetwork("8ms", "8ms", SMALL, files, {}))
    by_file = evaluate_model(files.onnx, open_with().settings)
    scores = {crop: evaluate_model(files.onnx, open_with(crop=crop).settings) for crop in (0.95, 0.5)}
    assert scores[0.95] == by_file and scores[0.5].keys() == by_file.keys()


def test_masks_and_boxes_are_not_cropped(few_images, open_with):
    for task in ("semantic", "detection"):
        with pytest.raises(UsageError, match="scored on whole images"):
            Preprocessing.for_dataset(replace(few_images, task=task), 32, 0.9)
    workspace = open_with(crop=0.9)
    trained.require_crop(workspace)
    workspace.__dict__["dataset"] = replace(few_images, task="semantic")
    with pytest.raises(UsageError, match="Leave it out"):
        trained.require_crop(workspace)
    assert Preprocessing.for_dataset(few_images, None, 0.9).crop_ratio == 0.9
    assert Preprocessing.for_dataset(few_images, None).crop_ratio == 1.0
