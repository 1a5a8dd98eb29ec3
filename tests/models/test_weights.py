import argparse
import json
import os
import warnings
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from efficientformer.arch.moves import Narrow
from efficientformer.arch.spec import MB3D
from efficientformer.arch.zoo import build_architecture
from efficientformer.errors import RecordError, UsageError
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.weights.load import (
    WeightsWarning,
    convert_state_dict,
    load_backbone,
    load_network,
    load_weights,
    save_weights,
)
from efficientformer.models.weights_file import read_weights_metadata

from .small_dense import DENSE, every_dense

SMALL = build_architecture((8, 16, 24, 32), (1, 1, 3, 2), 4, stem_strides=(2, 1), mb3d=MB3D(2, 2, 8, 2))


def small_network(randomize, seed=0, **options):
    return randomize(create_model(SMALL, **{"num_classes": 5, "resolution": 32, **options}), seed=seed).eval()


@pytest.mark.parametrize("options", [{}, {"resolution": (32, 48)}, {"has_distillation_head": True}])
def test_round_trip(tmp_path, randomize, options):
    network = small_network(randomize, **options)
    save_weights(network, tmp_path / "weights.safetensors", {"note": "kept"})
    again = load_network(tmp_path / "weights.safetensors").eval()
    assert (again.architecture, again.num_classes, again.resolution) == (SMALL, 5, network.resolution)
    assert read_weights_metadata(tmp_path / "weights.safetensors")["note"] == "kept"
    images = torch.randn(2, 3, 32, 48)
    assert torch.equal(again(images), network(images))
    other = small_network(randomize, seed=1, **options)
    load_weights(other, tmp_path / "weights.safetensors")
    assert torch.equal(other(images), network(images))


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "module."])
def test_wrapped_checkpoints(tmp_path, randomize, wrapper):
    """As the official release writes them: with the command line beside the weights."""
    network = small_network(randomize)
    state = dict(network.state_dict())
    if wrapper == "module.":
        state = {"module." + name: tensor for name, tensor in state.items()}
    elif wrapper:
        state = {wrapper: state, "epoch": 3, "args": argparse.Namespace(lr=1e-3)}
    torch.save(state, tmp_path / "checkpoint.pth")
    other = small_network(randomize, seed=1)
    load_weights(other, str(tmp_path / "checkpoint.pth"))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_official_checkpoint_through_safetensors(tmp_path, randomize, official_name):
    """Safetensors sorts the names, on which importers that count stages as they go fail."""
    network = randomize(create_model("efficientformer_l1", has_distillation_head=True)).eval()
    state = {official_name(name, network.architecture): tensor for name, tensor in network.state_dict().items()}
    state["network.6.4.token_mixer.attention_bias_idxs"] = torch.zeros(49, 49, dtype=torch.int64)
    save_file(state, tmp_path / "official.safetensors")
    converted = convert_state_dict(load_file(tmp_path / "official.safetensors"))
    assert converted.keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, converted[name]) for name, tensor in network.state_dict().items())


def test_fine_tuning_on_other_classes(randomize):
    source = randomize(timm.create_model("efficientformer_l1"))
    network = create_model("efficientformer_l1", num_classes=7)
    head = network.head.weight.clone()
    load_weights(network, source.state_dict(), with_head=False)
    assert torch.equal(network.head.weight, head)
    assert torch.equal(network.stem.conv1.weight, source.stem.conv1.weight)
    assert torch.equal(network.norm.weight, source.norm.weight)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_classes": 6}, r"head\.bias is \(5,\) instead of \(6,\).*with_head=False"),
        ({"resolution": 64}, r"attention_bias is \(2, 16\) instead of \(2, 64\).*at_resolution"),
        ({"has_distillation_head": True}, r"head_dist\.bias is missing"),
    ],
)
def test_what_does_not_fit_is_named(randomize, options, says):
    network = small_network(randomize, seed=1, **options)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(RecordError, match=says):
        load_weights(network, small_network(randomize).state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_superfluous_tensors_are_named(randomize):
    state = small_network(randomize).state_dict() | {"stages.3.blocks.9.layer_scale_1": torch.zeros(3)}
    with pytest.raises(RecordError, match=r"layer_scale_1 is unknown"):
        load_weights(small_network(randomize), state)


def test_unreadable_files(tmp_path):
    network = create_model(SMALL, num_classes=5, resolution=32)
    for name in ("absent.safetensors", "absent.pth"):
        with pytest.raises(RecordError, match="absent"):
            load_weights(network, tmp_path / name)
    for name in ("broken.safetensors", "broken.pth", "empty.pth"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"not weights at all")
        with pytest.raises(RecordError, match="not a readable"):
            load_weights(network, tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(RecordError, match="contains a list"):
        load_weights(network, tmp_path / "list.pth")


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Harmful()}, "harmful.pth")
    with pytest.raises(RecordError, match="not a readable"):
        load_weights(create_model(SMALL), "harmful.pth")
    assert not (tmp_path / "harm").exists()


def test_a_deploy_form_is_not_saved(tmp_path):
    with pytest.raises(UsageError, match="before fuse"):
        save_weights(fuse(create_model(SMALL, num_classes=5)), tmp_path / "weights.safetensors")


def test_files_that_do_not_say_whose_they_are(tmp_path):
    network = create_model(SMALL, num_classes=5, resolution=32)
    save_file(network.state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(RecordError, match="which network"):
        load_network(tmp_path / "bare.safetensors")
    save_file(network.state_dict(), tmp_path / "odd.safetensors", {"architecture": "{}", "num_classes": "5"})
    with pytest.raises(RecordError, match="which network"):
        load_network(tmp_path / "odd.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    network = create_model(SMALL, num_classes=5, resolution=32)
    save_weights(network, path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("efficientformer.models.weights_file.save", full_disk)
    with pytest.raises(RecordError, match="No space left"):
        save_weights(network, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_the_same_network_makes_the_same_file(tmp_path):
    network = create_model("efficientformer_l1", num_classes=3)
    for name in ("a", "b"):
        save_weights(network, tmp_path / name, {"note": "kept", "more": "kept too"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("architecture", "null", "architecture must be an object"),
        ("architecture", "[" * 9000, "inside one another"),
        ("resolution", "[64, 64, 64]", "resolution: must be a side in pixels"),
        ("resolution", "4000", r"its architecture has \d+ parameters and its tensors \d+ numbers"),
        ("resolution", "0", "resolution: must be a side in pixels"),
        ("num_classes", "1e3", "num_classes must be a whole number"),
        ("in_chans", "9" * 5000, "a number of 5000 digits"),
    ],
)
def test_metadata_of_another_shape_is_one_line_and_nothing_is_built(tmp_path, randomize, name, text, problem):
    path = tmp_path / "weights.safetensors"
    save_weights(small_network(randomize), path)
    about = {**read_weights_metadata(path), name: text}
    save_file(load_file(path), path, {"efficientformer": json.dumps(about)})
    with pytest.raises(RecordError, match=problem) as caught:
        load_network(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_an_architecture_larger_than_the_tensors_is_not_built(tmp_path, randomize):
    path = tmp_path / "weights.safetensors"
    save_weights(small_network(randomize), path)
    about = read_weights_metadata(path)
    architecture = json.loads(about["architecture"])
    architecture["stages"][3]["width"] = 4096
    about["architecture"] = json.dumps(architecture)
    save_file(load_file(path), path, {"efficientformer": json.dumps(about)})
    with pytest.raises(RecordError, match=r"its architecture has \d+ parameters and its tensors \d+ numbers"):
        load_network(path)


@pytest.mark.parametrize("entry", ["null", "[1]", '{"architecture": 3}', "[" * 9000, "no JSON"])
def test_a_metadata_entry_that_is_no_object_of_texts_is_refused(tmp_path, entry):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path, {"efficientformer": entry})
    with pytest.raises(RecordError, match="not a readable weights file"):
        read_weights_metadata(path)


@every_dense
def test_a_dense_network_is_rebuilt_from_its_file(tmp_path, dense, randomize):
    network = randomize(create_model(dense, num_classes=3, resolution=(32, 48))).eval()
    save_weights(network, tmp_path / "weights.safetensors")
    again = load_network(tmp_path / "weights.safetensors").eval()
    assert (again.architecture, again.num_classes, again.resolution) == (dense, 3, (32, 48))
    images = torch.randn(2, 3, 32, 48)
    assert torch.equal(again(images), network(images))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = create_model(dense, pretrained=tmp_path / "weights.safetensors").eval()
    assert torch.equal(same(images), network(images))


@every_dense
def test_a_classifiers_weights_become_a_dense_networks_backbone(tmp_path, dense, randomize):
    classifier = randomize(create_model(replace(dense, head=None), num_classes=5, resolution=32))
    save_weights(classifier, tmp_path / "weights.safetensors")
    with pytest.warns(WeightsWarning, match=r"another head, .* left out: (norm|head)\."):
        network = create_model(dense, num_classes=3, resolution=64, pretrained=tmp_path / "weights.safetensors").eval()
    images = torch.randn(1, 3, 32, 32)
    for map_, expected in zip(network.forward_maps(images), classifier.eval().forward_maps(images), strict=True):
        # Tables were resized to 64 pixels and back.
        assert map_.shape == expected.shape
    exact = create_model(dense, num_classes=3, resolution=32)
    left_out = load_backbone(exact, tmp_path / "weights.safetensors")
    assert set(left_out) == {name for name in classifier.state_dict() if name.startswith(("norm.", "head."))}
    for map_, expected in zip(exact.eval().forward_maps(images), classifier.forward_maps(images), strict=True):
        assert torch.equal(map_, expected)


@every_dense
def test_of_a_dense_head_with_other_classes_all_but_these_is_taken(tmp_path, dense, randomize):
    source = randomize(create_model(dense, num_classes=5, resolution=32))
    network = create_model(dense, num_classes=3, resolution=32)
    layer = "head.classes" if dense.head.kind == "semantic_fpn" else "head.branches.classes"
    new = network.get_submodule(layer).weight.clone()
    assert load_backbone(network, source.state_dict()) == [f"{layer}.weight", f"{layer}.bias"]
    assert torch.equal(network.get_submodule(layer).weight, new)
    assert torch.equal(network.head.fpn.outputs[0].weight, source.head.fpn.outputs[0].weight)
    wider = create_model(replace(dense, head=replace(dense.head, width=32)), num_classes=5, resolution=32)
    assert "head.fpn.outputs.0.weight" in load_backbone(wider, source.state_dict())
    narrow = create_model(Narrow(1, 8).apply(dense), num_classes=5, resolution=32)
    with pytest.raises(RecordError, match=r"stages\.1"):
        load_backbone(narrow, source.state_dict())


def test_a_dense_networks_backbone_starts_a_classifier(tmp_path, randomize):
    source = randomize(create_model(DENSE[0], num_classes=5, resolution=32))
    save_weights(source, tmp_path / "weights.safetensors")
    with pytest.warns(WeightsWarning, match="another head"):
        network = create_model(replace(DENSE[0], head=None), num_classes=5, pretrained=tmp_path / "weights.safetensors")
    images = torch.randn(1, 3, 32, 32)
    last = network.eval().forward_maps(images)[-1]
    assert torch.equal(last, source.eval().forward_maps(images)[-1]) and network(images).shape == (1, 5)
