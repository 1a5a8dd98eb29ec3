"""What fine-tuning takes from a file of weights: its resolution, and its head where the classes are the same."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from efficientformer.errors import RecordError, UsageError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.models.weights.timm_names import timm_state_dict
from efficientformer.pipeline.networks.pretrained import pretrained_network
from efficientformer.pipeline.run.open_run import fine_tune_request, open_run
from efficientformer.pipeline.run.settings import Settings

from ..models.small import SMALL_V2

CLASSES = ["Bag", "Boot"]


@pytest.fixture
def weights(tmp_path):
    def save(classes=None, resolution=96):
        path = tmp_path / "net" / "weights.safetensors"
        network = Network(SMALL_V2, num_classes=len(classes or CLASSES), resolution=resolution)
        save_weights(network, path, {"classes": json.dumps(classes)} if classes else {})
        return path

    return save


def resolution(init, run_dir, config=None, **given):
    with open_run(fine_tune_request(str(init), Settings.model_validate(given), run_dir, config)) as workspace:
        return workspace.settings.resolution


def test_the_file_s_resolution_is_below_what_is_given_and_above_the_preset(weights, tmp_path):
    path = weights()
    assert resolution(path, tmp_path / "a") == 96
    assert resolution(path, tmp_path / "a", resolution=64) == 64
    assert resolution(path, tmp_path / "a") == 64, "remembered"
    config = tmp_path / "run.yaml"
    config.write_text("resolution: 48\n")
    assert resolution(path, tmp_path / "b", config) == 48
    assert resolution("efficientformer_l1", tmp_path / "c") == 224


def test_help_and_run_agree(weights, tmp_path):
    request = fine_tune_request(str(weights(resolution=160)), Settings(), tmp_path / "run", None)
    assert request.resolved().resolution == 160


def test_a_resolution_that_is_not_square_stays_too(weights, tmp_path):
    assert resolution(weights(resolution=(96, 64)), tmp_path / "run") == (96, 64)


def test_a_damaged_file_is_said_before_anything_is_opened(weights, tmp_path):
    path = weights()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordError, match=r"weights\.safetensors"):
        resolution(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


AS_TRAINED = ({}, "96 px, as .* was trained; --resolution overrides it")
RESIZED = ({"resolution": 32}, "32 px; .* was trained at 96 px")


@pytest.mark.parametrize("given, says", [AS_TRAINED, RESIZED])
@pytest.mark.parametrize("order", ["same", "other", "unknown"])
def test_a_head_of_the_same_classes_is_kept_and_all_is_said(weights, tmp_path, capsys, given, says, order):
    request = fine_tune_request(str(weights()), Settings.model_validate(given), tmp_path / "run", None)
    with open_run(request) as workspace:
        classes = list(workspace.dataset.classes)
        known = {"same": classes, "other": classes[::-1], "unknown": None}[order]
        path = weights(known)
        capsys.readouterr()
        network, about = pretrained_network(workspace, str(path), path)
    is_kept = order == "same"
    assert about == {"init_resolution": 96, "head": "kept" if is_kept else "new"}
    assert network.num_classes == len(classes) and network.resolution == workspace.settings.resolution
    trained = load_file(path)["head.weight"]
    assert (trained.shape == network.head.weight.shape and torch.equal(network.head.weight, trained)) == is_kept
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(says, said) and f"the head is {about['head']}" in said


def test_a_network_for_other_channels_is_refused_before_it_is_trained(tmp_path):
    path = tmp_path / "net" / "weights.safetensors"
    save_weights(Network(SMALL_V2, num_classes=2, resolution=32, in_chans=1), path)
    with (
        open_run(fine_tune_request(str(path), Settings(), tmp_path / "run", None)) as workspace,
        pytest.raises(UsageError, match="images of 1 channels, and those of a run have 3"),
    ):
        pretrained_network(workspace, str(path), path)


def test_a_head_with_another_number_of_outputs_than_names_is_new(tmp_path):
    path = tmp_path / "net" / "weights.safetensors"
    with open_run(
        fine_tune_request("efficientformer_l1", Settings(resolution=32), tmp_path / "run", None)
    ) as workspace:
        names = json.dumps(list(workspace.dataset.classes))
        save_weights(Network(SMALL_V2, num_classes=3, resolution=32), path, {"classes": names})
        network, about = pretrained_network(workspace, str(path), path)
        assert about["head"] == "new" and network.num_classes == len(workspace.dataset.classes)


def test_a_file_of_other_people_is_the_published_network_that_it_fits(tmp_path, capsys):
    path = tmp_path / "theirs.pth"
    theirs = create_model("efficientformerv2_s0", num_classes=7, resolution=64, has_distillation_head=True)
    torch.save(timm_state_dict(theirs), path)
    with open_run(fine_tune_request(str(path), Settings(resolution=32), tmp_path / "run", None)) as workspace:
        network, about = pretrained_network(workspace, str(path), path)
        assert about == {"head": "new"} and network.num_classes == len(workspace.dataset.classes)
    assert network.architecture == theirs.architecture and network.resolution == 32
    assert torch.equal(network.stem.conv1.weight, theirs.stem.conv1.weight)
    assert "32 px; --resolution overrides it; the head is new" in " ".join(capsys.readouterr().err.split())
