"""A weights file brings its head, its resolution and its preprocessing, and what does not fit is said."""

import json
import warnings

import pytest
import timm
import torch

import efficientformer.models.registry  # noqa: F401
from efficientformer.errors import RecordError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import WeightsWarning, load_network, read_about, save_weights
from efficientformer.models.weights_file import write_weights_file

from .small import BOTH, BOTH_IDS, SMALL

PREPARED = {"resolution": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2], "crop_ratio": 1.0}


@pytest.fixture
def trained(randomize, tmp_path):
    """A network of five classes at 32 px, and its file."""

    def make(architecture=SMALL):
        network = randomize(Network(architecture, num_classes=5, resolution=32)).eval()
        network.preprocessing = dict(PREPARED)
        path = tmp_path / "weights.safetensors"
        save_weights(network, path, {"classes": json.dumps(["a", "b", "c", "d", "e"])})
        return network, path

    return make


@pytest.mark.parametrize("architecture", BOTH, ids=BOTH_IDS)
@pytest.mark.parametrize("options", [{}, {"num_classes": 5}, {"with_head": True}, {"num_classes": 5, "resolution": 32}])
def test_the_whole_network_comes_back(trained, architecture, options):
    network, path = trained(architecture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = create_model(architecture, pretrained=path, **options).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(images), network(images))
    assert again.resolution == 32 and again.preprocessing == PREPARED
    assert load_network(path).preprocessing == PREPARED
    assert read_about(path)["classes"] == ["a", "b", "c", "d", "e"]


def test_a_resolution_that_is_given_is_the_preprocessing_s_too(trained):
    _, path = trained()
    network = create_model(SMALL, pretrained=path, resolution=64)
    assert network.resolution == 64 and network.preprocessing == {**PREPARED, "resolution": 64}


def test_published_preprocessing_has_the_network_s_resolution(randomize, tmp_path):
    torch.save(randomize(timm.create_model("efficientformerv2_s0")).state_dict(), tmp_path / "s0.pth")
    network = create_model("efficientformerv2_s0", pretrained=tmp_path / "s0.pth", resolution=64)
    assert network.num_classes == 1000 and network.preprocessing["resolution"] == 64
    assert network.preprocessing["crop_pct"] == 0.95
    network.save_pretrained(tmp_path / "saved")
    assert Network.from_pretrained(tmp_path / "saved").preprocessing["resolution"] == 64


def test_another_number_of_classes_is_said_or_refused(trained):
    network, path = trained()
    with pytest.warns(WeightsWarning, match=r"head is new: the network has 7 classes, .*weights.safetensors has 5"):
        other = create_model(SMALL, pretrained=path, num_classes=7)
    assert other.head.out_features == 7 and torch.equal(other.stem.conv1.weight, network.stem.conv1.weight)
    with pytest.raises(RecordError, match=r"weights.safetensors: .*head.bias is \(5,\) instead of \(7,\)"):
        create_model(SMALL, pretrained=path, num_classes=7, with_head=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert create_model(SMALL, pretrained=path, num_classes=0)(torch.randn(1, 3, 32, 32)).shape == (1, 32)
        asked = create_model(SMALL, pretrained=path, with_head=False)
    assert not torch.equal(asked.head.weight, network.head.weight)


def test_a_file_without_preprocessing_takes_that_of_its_folder(trained):
    network, path = trained()
    network.preprocessing = None
    save_weights(network, path)
    record = {"architecture": SMALL.to_json(), "resolution": 32, "classes": list("abcde"), "preprocessing": PREPARED}
    path.with_name("architecture.json").write_text(json.dumps(record))
    assert create_model(SMALL, pretrained=path).preprocessing == PREPARED
    path.with_name("architecture.json").write_text(json.dumps({**record, "architecture": {}}))
    assert create_model(SMALL, pretrained=path).preprocessing is None


@pytest.mark.parametrize("num_classes", [5, 7])
def test_timm_keeps_a_head_that_fits(trained, num_classes):
    network, path = trained()
    cfg = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}, "architecture": SMALL, "img_size": 32}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", WeightsWarning)
        made = timm.create_model("ef_network", num_classes=num_classes, **cfg)
    fits = num_classes == 5
    assert (made.head.weight.shape[0], len(said)) == (num_classes, 0 if fits else 1)
    assert torch.equal(made.stem.conv1.weight, network.stem.conv1.weight)
    assert not fits or torch.equal(made.head.weight, network.head.weight)


def test_timm_takes_resolution_classes_and_preprocessing_of_an_architecture_json(trained, tmp_path):
    network, path = trained()
    record = {"architecture": SMALL.to_json(), "resolution": 32, "num_classes": 5, "preprocessing": PREPARED}
    (tmp_path / "architecture.json").write_text(json.dumps(record))
    made = timm.create_model("ef_network", architecture=tmp_path / "architecture.json", checkpoint_path=path).eval()
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(made(images), network(images))
    config = timm.data.resolve_model_data_config(made)
    assert (config["input_size"], config["mean"], config["crop_pct"]) == ((3, 32, 32), (0.4, 0.5, 0.6), 1.0)
    other = timm.create_model("ef_network", architecture=tmp_path / "architecture.json", img_size=64, num_classes=2)
    assert max(other.resolution) == 64 if isinstance(other.resolution, tuple) else other.resolution == 64
    assert other.num_classes == 2


@pytest.mark.parametrize("of", ["weights", "folder"])
@pytest.mark.parametrize(
    "changed",
    [
        *({"resolution": value} for value in ("big", [], 1e9, 10**9, -5, True)),
        *({"in_chans": value} for value in ("3", 10**9, 1e3, 0)),
        *({"preprocessing": "big"}, {"preprocessing": []}, {"classes": 5}, {"classes": [1]}),
    ],
)
def test_what_a_file_says_of_its_network_is_checked_before_it_is_built(trained, tmp_path, changed, of):
    network, path = trained()
    about = dict(network.about()) if of == "weights" else {"architecture": network.about()["architecture"]}
    if of == "weights":
        about |= {name: json.dumps(value) for name, value in changed.items()}
    else:
        record = {"architecture": network.architecture.to_json(), **changed}
        (tmp_path / "architecture.json").write_text(json.dumps(record))
    write_weights_file(path, network.state_dict(), about)
    with pytest.raises(RecordError, match=rf"weights.safetensors cannot be used: .*{next(iter(changed))}"):
        create_model(SMALL, pretrained=path)
