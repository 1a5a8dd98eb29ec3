"""The hub, without one: folders, a cache that has a file, and a machine without a network."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from efficientformer.errors import ArchitectureError, RecordError, UsageError
from efficientformer.models import hub
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.timm_names import timm_state_dict

from .small import BOTH, BOTH_IDS, SMALL


def assert_same(logits, expected):
    assert (logits - expected).abs().max() <= 2e-5 * max(1.0, expected.std())


@pytest.mark.parametrize("small", BOTH, ids=BOTH_IDS)
def test_a_folder_holds_the_whole_network(small, randomize, tmp_path):
    network = randomize(Network(small, num_classes=5, resolution=(32, 48), in_chans=1)).eval()
    network.preprocessing = {"mean": [0.5], "std": [0.25]}
    network.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())["efficientformer"]
    assert config["architecture"] == small.to_json() and config["preprocessing"] == {"mean": [0.5], "std": [0.25]}
    again = Network.from_pretrained(tmp_path / "saved").eval()
    images = torch.randn(2, 1, 32, 48)
    assert torch.equal(again(images), network(images))
    assert (again.architecture, again.resolution, again.preprocessing) == (small, (32, 48), network.preprocessing)


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_published_weights_from_the_cache(name, randomize, tmp_path, monkeypatch):
    theirs = randomize(timm.create_model(name)).eval()
    path, asked = tmp_path / "model.safetensors", []
    save_file(theirs.state_dict(), path)

    def cached(repository, file, **options):
        asked.append((repository, file, options["revision"]))
        return str(path)

    monkeypatch.setattr(hub, "hf_hub_download", cached)
    images = torch.randn(1, 3, 224, 224)
    ours = create_model(name, pretrained=True, revision="v1").eval()
    assert asked == [(f"timm/{name}.snap_dist_in1k", "model.safetensors", "v1")]
    with torch.no_grad():
        assert_same(ours(images), theirs(images))
    assert ours.preprocessing["crop_pct"] == 0.95 and ours.head_dist is None
    other = create_model(name, pretrained=path, num_classes=3, resolution=96)
    assert other(images[:, :, :96, :96]).shape == (1, 3)
    assert torch.equal(other.stem.conv1.weight, ours.stem.conv1.weight)


def test_without_a_network_one_line_says_what_to_do(monkeypatch):
    def unreachable(repository, file, **options):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(hub, "hf_hub_download", unreachable)
    with pytest.raises(RecordError, match=r"could not be downloaded.*no route to host\).*give its path") as caught:
        create_model("efficientformer_l1", pretrained=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="name of a published network"):
        create_model(SMALL, pretrained=True)
    with pytest.raises(ArchitectureError, match="efficientformerv2_s0"):
        create_model("efficientformer_l2", pretrained=True)


@pytest.mark.parametrize(
    "name", ["efficientformer_l1", "efficientformer_l3", "efficientformerv2_s0", "efficientformerv2_s2"]
)
def test_weights_go_back_to_timm(name, randomize):
    ours = randomize(create_model(name, has_distillation_head=True)).eval()
    theirs = timm.create_model(name).eval()
    theirs.load_state_dict(timm_state_dict(ours))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert_same(theirs(images), ours(images))
        single = randomize(create_model(name)).eval()
        # timm keeps gathered biases until the mode changes.
        theirs.train().load_state_dict(timm_state_dict(single))
        assert_same(theirs.eval()(images), single(images))


def test_timm_has_only_the_published_ones():
    with pytest.raises(UsageError, match="ef_network"):
        timm_state_dict(Network(SMALL))
