"""Bugs of the implementations around, each absent here.

The other differences among them are decided elsewhere: pooling at borders in test_token_mixers, names and pickles in
test_weights, drop path and initialization in test_network, figures of every published network in test_golden.
"""

import copy

import pytest
import torch

from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.arch.zoo import ZOO, build_architecture
from efficientformer.errors import UsageError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_weights

from .small import BOTH, BOTH_IDS, SMALL

both_families = pytest.mark.parametrize("small", BOTH, ids=BOTH_IDS)


@both_families
def test_weights_loaded_after_eval_are_used(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32)).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        network(images)
        other = randomize(create_model(small, num_classes=5, resolution=32), seed=1).eval()
        network.load_state_dict(other.state_dict())
        assert torch.equal(network(images), other(images))


@both_families
def test_evaluation_keeps_nothing(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32)).eval()
    images = torch.randn(1, 3, 32, 32)
    for size in (images, torch.randn(1, 3, 40, 24)):
        for _ in range(2):  # a cached bias would belong to a graph that is gone
            network.zero_grad()
            network(size).sum().backward()
            tables = [p for name, p in network.named_parameters() if "attention_bias" in name]
            assert len(tables) == 4 and all(table.grad.abs().sum() > 0 for table in tables)
    assert torch.equal(copy.deepcopy(network)(images), network(images))
    assert not [name for name in network.state_dict() if "index" in name]


@both_families
def test_dtype_casts(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32)).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        logits = network(images)
        torch.testing.assert_close(network.double()(images.double()), logits.double(), rtol=1e-4, atol=1e-5)
        assert network.bfloat16()(images.bfloat16()).dtype == torch.bfloat16


@both_families
def test_modes_return_the_network(small):
    network = create_model(small, num_classes=5, resolution=32)
    for module in network.modules():
        assert module.eval() is module and module.train() is module


@both_families
def test_the_first_calls_of_train_and_eval_change_nothing(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32))
    images, before = torch.randn(1, 3, 32, 32), dict(network.state_dict())
    logits = network.eval()(images)
    assert torch.equal(network.train().train().eval()(images), logits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@both_families
def test_nothing_stays_behind_on_a_move(small):
    moved = create_model(small, num_classes=5, resolution=32).to("meta")
    held = [value for module in moved.modules() for value in vars(module).values() if torch.is_tensor(value)]
    assert all(tensor.is_meta for tensor in held)
    assert moved(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 5)


def test_a_misspelt_option_is_an_error():
    for wrong in ({"fuse": True}, {"drop_path": 0.1}, {"pretrain": True}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            create_model("efficientformer_l1", **wrong)


def test_both_heads_of_a_checkpoint_stay_behind_in_fine_tuning(randomize, official_name):
    theirs = randomize(Network(SMALL, num_classes=7, resolution=32, has_distillation_head=True))
    official = {official_name(name, SMALL): tensor for name, tensor in theirs.state_dict().items()}
    assert "dist_head.weight" in official
    ours = Network(SMALL, num_classes=3, resolution=32, has_distillation_head=True)
    head = ours.head_dist.weight.clone()
    load_weights(ours, official, with_head=False)
    assert torch.equal(ours.head_dist.weight, head) and torch.equal(ours.norm.weight, theirs.norm.weight)


@pytest.mark.parametrize("resolution", [192, 224, (160, 256)])
def test_the_resolution_sizes_the_tables(resolution):
    table = create_model("efficientformer_l1", resolution=resolution).stages[3].blocks[3].token_mixer.attention_bias
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    assert table.shape == (8, -(-height // 32) * -(-width // 32))


def test_the_widest_networks_drop_no_more_than_they_are_told():
    for name in ZOO:
        network = create_model(name, drop_path_rate=0.3)
        rates = [getattr(module, "drop_prob", 0.0) for module in network.modules()]
        assert 0.29 < max(rates) <= 0.3 + 1e-9


def test_mlp_ratios_are_those_of_the_architecture():
    narrow = build_architecture((8, 16, 24, 32), (1, 1, 1, 2), 1, mb4d=MB4D(mlp_ratio=2), mb3d=MB3D(mlp_ratio=3))
    network = Network(narrow, resolution=32)
    assert network.stages[0].blocks[0].mlp.fc1.weight.shape[0] == 16
    assert network.stages[3].blocks[1].mlp.fc1.weight.shape[0] == 96


@both_families
def test_stages_are_counted_from_the_end_as_well(small):
    network, images = create_model(small, num_classes=5, resolution=32).eval(), torch.randn(1, 3, 32, 32)
    last = network.forward_intermediates(images, indices=(-1,), intermediates_only=True)
    assert len(last) == 1 and last[0].shape[1] == small.widths[-1]
    with pytest.raises(UsageError, match="no stage 4"):
        network.forward_intermediates(images, indices=(4,))


@both_families
def test_maps_of_odd_images_keep_every_row(small):
    network = create_model(small, num_classes=5, resolution=32).eval()
    maps = network.forward_maps(torch.randn(1, 3, 33, 47))
    assert [tuple(stage.shape[2:]) for stage in maps] == [(17, 24), (9, 12), (5, 6), (3, 3)]
