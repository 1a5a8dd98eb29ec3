"""Checkpoints of other people's training scripts: containers and prefixes in any nesting."""

import re
import warnings

import pytest
import timm
import torch

import efficientformer.models.registry  # noqa: F401
from efficientformer.errors import RecordError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import WeightsWarning, convert_state_dict, load_weights
from efficientformer.models.weights.timm_names import timm_state_dict

from .small import SMALL, SMALL_V2


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.fixture
def state(randomize):
    return dict(randomize(Network(SMALL_V2, num_classes=5, resolution=32)).state_dict())


def assert_loads(source, state):
    network = Network(SMALL_V2, num_classes=5, resolution=32)
    load_weights(network, source)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    "prefix", ["", "_orig_mod.", "module._orig_mod.", "model.net.", "backbone.model.module.", "a.b."]
)
@pytest.mark.parametrize(
    "containers", [(), ("state_dict",), ("model_state_dict",), ("state", "model"), ("net", "module")]
)
def test_any_nesting(state, prefix, containers):
    content = prefixed(prefix, state)
    for name in reversed(containers):
        content = {"epoch": 3, name: content, "optimizer": {"state": {}}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_loads(content, state)


def other(state):
    return {name: tensor + 1 for name, tensor in state.items()}


@pytest.mark.parametrize(
    "content",
    [
        lambda state: {"state_dict": other(state), "state_dict_ema": state},
        lambda state: {"model": other(state), "model_ema": prefixed("module.", state)},
        lambda state: {"state": {"model": other(state), "ema": state, "counters": {"step": 1}}},
        lambda state: {"state_dict": {**prefixed("model.", other(state)), **prefixed("model_ema.module.", state)}},
    ],
)
def test_a_moving_average_is_preferred_and_said(state, content):
    with pytest.warns(WeightsWarning, match="moving average"):
        assert_loads(content(state), state)


@pytest.mark.parametrize("ema", [None, {}, {"decay": 0.99}])
def test_an_average_without_weights_is_none(state, ema):
    assert_loads({"model": state, "ema": ema}, state)


def test_what_is_outside_of_the_network_is_said(state):
    body = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    head = {name: tensor for name, tensor in state.items() if name.startswith("head.")}
    with pytest.warns(WeightsWarning, match=r"Left out.*: criterion\.weight\.$"):
        assert_loads({**prefixed("backbone.", body), **head, "criterion.weight": torch.zeros(2)}, state)


def test_two_networks_in_one_are_refused(state):
    with pytest.raises(RecordError, match="several networks: student, teacher"):
        convert_state_dict({**prefixed("student.", state), **prefixed("teacher.", other(state))})


def test_foreign_names_behind_prefixes():
    network = create_model("efficientformerv2_s0", num_classes=3)
    theirs = prefixed("_orig_mod.module.", timm_state_dict(network))
    converted = convert_state_dict({"state_dict": theirs})
    assert all(torch.equal(tensor, converted[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model_state_dict": prefixed("model._orig_mod.", s)}])
def test_timm_s_checkpoint_path(tmp_path, randomize, wrap):
    network = randomize(create_model("efficientformerv2_s0", num_classes=3)).eval()
    torch.save(wrap(dict(network.state_dict())), tmp_path / "ours.pth")
    made = timm.create_model("ef_v2_s0", checkpoint_path=tmp_path / "ours.pth", num_classes=3).eval()
    assert all(torch.equal(tensor, made.state_dict()[name]) for name, tensor in network.state_dict().items())
    made.load_state_dict(made.state_dict())


def test_at_most_twenty_names_are_missing(tmp_path):
    torch.save(create_model("efficientformer_l1", num_classes=3).state_dict(), tmp_path / "l1.pth")
    with pytest.raises(RecordError) as caught:
        timm.create_model("ef_l3", checkpoint_path=tmp_path / "l1.pth", num_classes=3)
    assert 1 <= len(re.findall(r"is missing|is unknown|instead of \(", str(caught.value))) <= 20
    assert re.search(r"and \d+ more", str(caught.value))


def test_the_reason_is_pytorch_s_own(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(
        RecordError, match=r"module\.pth .*Unsupported global: GLOBAL torch\.nn.*Linear.*state dict"
    ) as caught:
        load_weights(Network(SMALL), tmp_path / "module.pth")
    assert not re.search(r"\x1b|\n", str(caught.value)) and len(str(caught.value)) < 400
