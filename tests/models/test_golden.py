"""The released networks against figures read off the official implementation."""

import hashlib
import zlib

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from efficientformer.arch.cost import network_cost
from efficientformer.arch.zoo import ZOO
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_weights

PROBES = [
    ("efficientformer_l1", 224),
    ("efficientformer_l1", 256),
    ("efficientformer_l7", 224),
    ("efficientformerv2_s0", 224),
    ("efficientformerv2_s0", 256),
    ("efficientformerv2_s2", 224),
]


def hashed(name: str, count: int) -> np.ndarray:
    """The golden file's hash: `count` numbers in [0, 1) for a tensor's official name."""
    h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(name.encode()))
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h.astype(np.float64) / 2**32


def filled(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The golden file's fill of one tensor, by its official name."""
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor)
    u = 2 * hashed(name, tensor.numel()) - 1
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "weight":
        value = u * np.sqrt(3 / (tensor.numel() / tensor.shape[0])) if tensor.ndim > 1 else 1 + 0.2 * u
    elif leaf in ("bias", "running_mean"):
        value = 0.1 * u
    elif leaf == "running_var":
        value = 1 + 0.3 * u
    elif leaf == "attention_biases":
        value = u
    else:
        assert leaf.startswith("layer_scale")
        value = 0.1 + 0.05 * u
    return torch.from_numpy(value.astype(np.float32)).reshape(tensor.shape)


def probe_network(name: str, resolution: int, official_name) -> Network:
    network = create_model(name, resolution=resolution, has_distillation_head=True)
    official = {official_name(ours, network.architecture): tensor for ours, tensor in network.state_dict().items()}
    load_weights(network, {key: filled(key, tensor) for key, tensor in official.items()})
    return network.eval()


def probe_image(resolution: int) -> torch.Tensor:
    image = (2 * hashed("input", 3 * resolution**2) - 1).astype(np.float32) * np.float32(1.7320508)
    return torch.from_numpy(image).reshape(1, 3, resolution, resolution)


def mean_std(tensor: torch.Tensor) -> list[float]:
    return [float(tensor.double().mean()), float(tensor.double().std(correction=0))]


def test_the_hash_is_the_golden_one(golden):
    check = golden["_about"]["probe"]["hash_check"]
    assert hashed("input", 4).tolist() == check["input first 4"]
    assert hashed("head.weight", 3).tolist() == check["head.weight first 3"]


@pytest.mark.parametrize(("name", "resolution"), PROBES)
def test_probe(name, resolution, golden, official_name):
    expected = next(probe for probe in golden[name]["probe"] if probe["resolution"] == resolution)
    network, image = probe_network(name, resolution, official_name), probe_image(resolution)
    assert network.head_dist is not None
    with torch.no_grad():
        logits = network(image)
        maps = network.forward_maps(image)
        last = maps[-1]
        if network.architecture.is_v2:
            mean_token = network.norm(last).mean((2, 3))
        else:
            mean_token = network.norm(last.flatten(2).transpose(1, 2)).mean(1)
        assert logits[0, :8].tolist() == pytest.approx(expected["logits_first8"], abs=2e-5)
        assert int(logits.argmax()) == expected["argmax"]
        assert mean_std(logits) == pytest.approx(expected["logits_mean_std"], abs=2e-5)
        assert network.head(mean_token)[0, :4].tolist() == pytest.approx(expected["cls_head_first4"], abs=2e-5)
        assert network.head_dist(mean_token)[0, :4].tolist() == pytest.approx(expected["dist_head_first4"], abs=2e-5)
        assert mean_std(network.stem(image)) == pytest.approx(expected["stem_mean_std"], abs=2e-5)
        for stage_map, figures in zip(maps, expected["stage_mean_std"], strict=True):
            assert mean_std(stage_map) == pytest.approx(figures, abs=2e-5)
        assert (fuse(network)(image) - logits).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ZOO)
def test_official_names_are_the_golden_ones(name, golden, official_name):
    with torch.device("meta"):
        network = create_model(name, has_distillation_head=True)
    keys = [official_name(key, network.architecture) for key in network.state_dict()]
    keys += [key.replace("attention_biases", "attention_bias_idxs") for key in keys if "attention_biases" in key]
    assert hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest() == golden[name]["key_sha256"]["official"]


COUNTED = ("224", "288")
"""Where maps have even and odd sides. Our formulas are compared with modules of any size in test_cost_property.py."""


@pytest.mark.parametrize("name", ZOO)
def test_parameters_and_macs(name, golden):
    figures = golden[name]
    assert network_cost(ZOO[name], 224, 1000).num_params == figures["params_one_head"]
    for resolution, expected in figures["params_macs_by_resolution"].items():
        cost = network_cost(ZOO[name], int(resolution), 1000, has_distillation_head=True)
        assert (cost.num_params, cost.macs) == (expected["params"], expected["macs"])
        if resolution not in COUNTED:
            continue
        with torch.device("meta"):
            network = create_model(name, resolution=int(resolution), has_distillation_head=True).eval()
            image = torch.empty(1, 3, int(resolution), int(resolution))
        with FlopCounterMode(display=False) as counter:
            network(image)
        counted = (sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
        assert counted == (expected["params"], expected["macs"])
