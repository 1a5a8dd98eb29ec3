import copy

import pytest
import timm
import torch
from torch import nn

from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, UsageError
from efficientformer.models.create import create_model
from efficientformer.models.network import at_resolution
from efficientformer.models.weights.load import load_weights

from .small import SMALL, STEMS, STEMS_IDS

both_families = pytest.mark.parametrize("small", STEMS, ids=STEMS_IDS)


@pytest.mark.parametrize("name", ZOO)
def test_equals_timm(name, randomize):
    theirs = randomize(timm.create_model(name)).eval()
    ours = create_model(name, has_distillation_head=True).eval()
    load_weights(ours, theirs.state_dict())
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(images)
        assert expected.std() > 0.1
        # Nothing normalizes the sum of V2's blocks: its logits are in the hundreds here.
        assert (ours(images) - expected).abs().max() <= 2e-5 * (float(expected.std()) if ours.architecture.is_v2 else 1)
        for map_, timm_map in zip(ours.forward_maps(images), theirs.forward_intermediates(images)[1], strict=True):
            scale = float(timm_map.std()) if ours.architecture.is_v2 else 1
            torch.testing.assert_close(map_, timm_map, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_equals_timm_in_training(name, randomize):
    theirs = randomize(timm.create_model(name))
    theirs.set_distilled_training(True)
    ours = create_model(name, has_distillation_head=True)
    ours.set_distilled_training()
    load_weights(ours, theirs.state_dict())
    theirs.train()
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    pair, expected = ours.train()(images), theirs(images)
    assert (torch.stack(pair) - torch.stack(expected)).abs().max() <= 2e-5
    their_norm = theirs.stem.conv2.bn if ours.architecture.is_v2 else theirs.stem.norm2
    torch.testing.assert_close(ours.stem.norm2.running_var, their_norm.running_var)


@both_families
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (48, 31), (1, 1), (7, 40)])
def test_takes_any_size(small, size, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32)).eval()
    images = torch.randn(2, 3, *size)
    logits = network(images)
    assert logits.shape == (2, 5) and logits.isfinite().all()
    grid = tuple(-(-side // 2) for side in size)
    for stage_map, width in zip(network.forward_maps(images), small.widths, strict=True):
        assert stage_map.shape == (2, width, *grid)
        grid = tuple(-(-side // 2) for side in grid)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_published_networks_take_images_from_32_to_1024(name):
    network = create_model(name, num_classes=5).eval()
    with torch.no_grad():
        for size in ((32, 32), (97, 61), (320, 192), (1024, 416)):
            logits = network(torch.randn(1, 3, *size))
            assert logits.shape == (1, 5) and logits.isfinite().all(), size


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s1"])
def test_weights_of_224_px_keep_what_a_token_thinks_of_itself_at_256(name, randomize):
    network = randomize(create_model(name, num_classes=5))
    larger = create_model(name, num_classes=5, resolution=256)
    load_weights(larger, network.state_dict(), resize_bias=True)
    tables = {key: tensor for key, tensor in network.state_dict().items() if key.endswith("attention_bias")}
    assert tables
    for key, table in tables.items():
        assert larger.state_dict()[key].shape[1] > table.shape[1], key
        assert torch.equal(larger.state_dict()[key][:, 0], table[:, 0]), key


@both_families
def test_non_square_tables_are_not_transposed(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=(32, 64))).eval()
    images = torch.randn(1, 3, 64, 32)
    # Turning the image, the kernels and the tables by transposition must turn nothing but the maps.
    turned = copy.deepcopy(network)
    for module in turned.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.transpose(2, 3)
        if hasattr(module, "attention_bias"):
            height, width = module.grid
            module.attention_bias.data = module.attention_bias.data.unflatten(1, (height, width)).mT.flatten(1)
            module.grid = (width, height)
            module.offset_index = torch.empty(0)  # never used: the grids differ from here on
    wide = images.transpose(2, 3)
    torch.testing.assert_close(network(wide), at_resolution(turned, (64, 32))(images), rtol=1e-4, atol=1e-5)


@both_families
def test_running_at_a_size_equals_being_made_for_it(small, randomize):
    network = randomize(create_model(small, num_classes=5, resolution=32)).eval()
    images = torch.randn(2, 3, 48, 40)
    moved = at_resolution(network, (48, 40))
    assert moved.resolution == (48, 40) and network.resolution == 32
    torch.testing.assert_close(moved(images), network(images))
    fresh = create_model(small, num_classes=5, resolution=(48, 40)).state_dict()
    assert {k: v.shape for k, v in moved.state_dict().items()} == {k: v.shape for k, v in fresh.items()}


def test_distillation_head(randomize):
    network = randomize(create_model(SMALL, num_classes=5, resolution=32, has_distillation_head=True))
    images = torch.randn(2, 3, 32, 32)
    assert network.train()(images).shape == (2, 5)
    network.set_distilled_training()
    pair = network(images)
    assert [logits.shape for logits in pair] == [(2, 5), (2, 5)]
    assert not torch.equal(*pair)
    network.eval()
    mean_token = network.norm(network.forward_maps(images)[-1].flatten(2).mT).mean(1)
    expected = (network.head(mean_token) + network.head_dist(mean_token)) / 2
    torch.testing.assert_close(network(images), expected)


def test_drop_path_grows_linearly():
    network = create_model("efficientformer_l1", drop_path_rate=0.14)
    rates = [block.drop_path.drop_prob for stage in network.stages for block in stage.blocks]
    assert rates == pytest.approx([0.01 * index for index in range(15)])


def test_drop_path_only_acts_in_training(randomize):
    network = randomize(create_model(SMALL, num_classes=5, resolution=32, drop_path_rate=0.9)).eval()
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(network(images), network(images))
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert len({network(images).sum().item() for _ in range(20)}) > 1


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_initialization(name):
    network = create_model(name, has_distillation_head=True)
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) or name.endswith((".fc1", ".fc2")):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05), name
            assert not module.bias.any(), name
        elif isinstance(module, nn.Conv2d):  # uniform with variance 1 / (3 * fan-in)
            error = 0.1 if module.weight.numel() > 500 else 0.3
            assert module.weight.std().item() == pytest.approx((3 * module.weight[0].numel()) ** -0.5, rel=error), name
            assert module.bias.any(), name
    scales = [p for name, p in network.named_parameters() if "layer_scale" in name]
    assert len(scales) in (30, 18) and all((scale == 1e-5).all() for scale in scales)
    assert not any(p.any() for name, p in network.named_parameters() if "attention_bias" in name)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"architecture": "efficientformer_l2"}, ArchitectureError, "efficientformer_l1"),
        ({"architecture": SMALL, "num_classes": -1}, UsageError, "class"),
        ({"architecture": SMALL, "resolution": 0}, UsageError, "resolution"),
        ({"architecture": SMALL, "resolution": (32, -1)}, UsageError, "resolution"),
        ({"architecture": SMALL, "drop_path_rate": 1.0}, UsageError, "drop_path_rate"),
    ],
)
def test_impossible_requests(arguments, error, says):
    with pytest.raises(error, match=says):
        create_model(**arguments)
