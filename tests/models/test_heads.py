"""Dense heads as modules, compared with torchvision's pyramid and with figures by hand."""

import math

import pytest
import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork

from efficientformer.errors import UsageError
from efficientformer.models.feature_maps import FeatureMaps
from efficientformer.models.heads.fpn import Fpn
from efficientformer.models.heads.one_stage import SharedConvNorm, cell_strides, level_strides, points
from efficientformer.models.network import Network, at_resolution

from .small import SMALL, SMALL_V2
from .small_dense import DENSE, DENSE_IDS, every_dense


def test_the_pyramid_is_torchvisions(randomize):
    ours, theirs = randomize(Fpn((8, 16, 24), 16)), FeaturePyramidNetwork([8, 16, 24], 16)
    for index in range(3):
        theirs.inner_blocks[index][0].load_state_dict(ours.laterals[index].state_dict())
        theirs.layer_blocks[index][0].load_state_dict(ours.outputs[index].state_dict())
    maps = [torch.randn(2, width, *grid) for width, grid in ((8, (9, 13)), (16, (5, 7)), (24, (3, 4)))]
    expected = theirs({str(index): x for index, x in enumerate(maps)}).values()
    for level, their_level in zip(ours(maps), expected, strict=True):
        torch.testing.assert_close(level, their_level)


@every_dense
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (7, 40)])
def test_one_output_of_the_agreed_shape(dense, size, randomize):
    network = randomize(Network(dense, num_classes=3, resolution=32)).eval()
    outputs = network(torch.randn(2, 3, *size))
    assert outputs.isfinite().all()
    if dense.head.kind == "semantic_fpn":
        assert outputs.shape == (2, 3, *size)
    else:
        strides = level_strides(dense)
        assert strides == (4, 8, 16, 32)  # behind a stem of stride 2
        assert outputs.shape == (2, len(points(size, strides)), 4 + 1 + 3) and (outputs[:, :, :4] >= 0).all()


def test_points_are_the_centers_of_the_cells():
    assert points((9, 24), (8, 16)).tolist() == [
        *([4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]),
        *([8, 8], [24, 8]),
    ]
    assert cell_strides((9, 24), (8, 16)).tolist() == [8] * 6 + [16] * 2


def test_an_object_moves_the_outputs_of_the_cells_that_see_it():
    """Cells are in the order of the points: a change in one corner reaches the cells there, in both levels."""
    network = Network(DENSE[3], num_classes=2, resolution=96).eval()
    nn.init.normal_(network.head.branches.classes.weight)
    images = torch.zeros(1, 3, 96, 96)
    changed = images.clone()
    changed[:, :, 64:, :32] = 3.0
    moved_A = (network(changed) - network(images)).abs().amax(dim=2)[0]
    centers_A2 = points(96, level_strides(DENSE[3]))[: 24 * 24]
    x, y = centers_A2[moved_A[: 24 * 24].argmax()].tolist()
    assert x < 48 and y > 48


@every_dense
def test_every_parameter_learns(dense):
    network = Network(dense, num_classes=3, resolution=32)
    network(torch.randn(2, 3, 33, 47)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@every_dense
def test_classes_start_improbable_in_detection_and_even_in_segmentation(dense):
    network = Network(dense, num_classes=3, resolution=32).eval()
    outputs = network(torch.randn(1, 3, 32, 32))
    if dense.head.kind == "one_stage":
        assert outputs[:, :, 5:].sigmoid().mean().item() == pytest.approx(0.01, rel=0.3)
    else:
        assert outputs.softmax(dim=1).mean(dim=(0, 2, 3)).tolist() == pytest.approx([1 / 3] * 3, abs=0.1)


@torch.no_grad()
def test_levels_are_normalized_together(randomize):
    """After one step of momentum 1 evaluation computes what training did, at every level."""
    layer = randomize(SharedConvNorm(8, 16, 3)).train()
    layer.norm.momentum = 1.0
    maps = [torch.randn(3, 8, 9, 5) * 2, torch.randn(3, 8, 5, 3) + 1]
    trained = layer.forward_levels(maps)
    joined = torch.cat([layer.conv(x).transpose(0, 1).flatten(1) for x in maps], dim=1)
    torch.testing.assert_close(layer.norm.running_mean, joined.mean(dim=1))
    torch.testing.assert_close(layer.norm.running_var, joined.var(dim=1))
    layer.norm.running_var.copy_(joined.var(dim=1, unbiased=False))
    for evaluated, level in zip(layer.eval().forward_levels(maps), trained, strict=True):
        torch.testing.assert_close(evaluated, level)


@every_dense
def test_the_head_reads_the_maps_of_feature_maps(dense, randomize):
    network = randomize(Network(dense, num_classes=3, resolution=32)).eval()
    images = torch.randn(1, 3, 32, 32)
    expected, maps = network(images), network.forward_normed_maps(images)
    assert torch.equal(network.get_classifier()(maps, (32, 32)), expected)
    assert all(map(torch.equal, network.forward_intermediates(images, norm=True)[1], maps))
    assert all(map(torch.equal, network.forward_intermediates(images)[1], network.forward_maps(images)))
    norms = network.output_norms
    has_norms = [isinstance(norm, nn.GroupNorm) for norm in norms]
    assert has_norms == [not dense.is_v2 and index >= dense.head.first_stage for index in range(4)]
    backbone = FeatureMaps(network)
    backbone.norms.load_state_dict(norms.state_dict(), strict=False)
    for index in range(dense.head.first_stage, 4):
        assert torch.equal(backbone(images)[index], maps[index])


@every_dense
def test_timms_methods_know_a_dense_head(dense, randomize):
    network = randomize(Network(dense, num_classes=3, resolution=32)).eval()
    images = torch.randn(2, 3, 32, 32)
    features = network.forward_features(images)
    assert torch.equal(features, network.forward_maps(images)[-1])
    with pytest.raises(UsageError, match="call the network, not forward_head"):
        network.forward_head(features)
    network.freeze_backbone()
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == ({"head"} if dense.is_v2 else {"head", "output_norms"})
    before = network(images)
    network.reset_classifier(5)
    assert network(images).shape == ((2, 5, 32, 32) if before.ndim == 4 else (2, before.shape[1], 10))
    network.reset_classifier(0)
    assert torch.equal(network(images), features.mean(dim=(2, 3)))
    assert network.prune_intermediate_layers((0, 1)) == [0, 1] and network(images).shape == (2, dense.widths[1])
    with pytest.raises(UsageError, match="all four stages"):
        network.reset_classifier(3)
    with pytest.raises(UsageError, match="A second head is for classifiers"):
        Network(dense, num_classes=3, resolution=32, has_distillation_head=True)


@every_dense
def test_running_at_a_size_equals_being_made_for_it(dense, randomize):
    network = randomize(Network(dense, num_classes=3, resolution=32)).eval()
    images = torch.randn(1, 3, 48, 40)
    torch.testing.assert_close(at_resolution(network, (48, 40))(images), network(images))


@pytest.mark.parametrize("dense", DENSE[:2], ids=DENSE_IDS[:2])
def test_torchscript_takes_it_in_training_and_evaluation(dense, randomize):
    network = randomize(Network(dense, num_classes=3, resolution=32)).eval()
    script, images = torch.jit.script(network), torch.randn(2, 3, 33, 47)
    assert torch.equal(script(images), network(images))
    assert torch.equal(script.train()(images), network.train()(images))


@pytest.mark.parametrize("small", [SMALL, SMALL_V2])
def test_classifiers_have_the_tensors_they_had(small):
    names = {name.split(".")[0] for name in Network(small, num_classes=3, resolution=32).state_dict()}
    assert names == {"stem", "stages", "norm", "head"}


def test_the_prior_is_a_hundredth():
    head = Network(DENSE[1], num_classes=3, resolution=32).head
    assert head.branches.classes.bias.tolist() == pytest.approx([-math.log(99)] * 3)


def test_dropout_is_of_training_steps_alone():
    network = Network(DENSE[0], num_classes=3, resolution=32)
    images = torch.randn(2, 3, 32, 32)

    def trained(seed, rate):
        network.train().head.dropout = rate
        torch.manual_seed(seed)
        logits = network(images)
        return logits, torch.get_rng_state()

    plain, _ = trained(1, 0.0)
    assert torch.equal(trained(1, 0.5)[0], trained(1, 0.5)[0]) and not torch.equal(trained(1, 0.5)[0], plain)
    torch.manual_seed(1)
    assert torch.equal(trained(1, 0.0)[1], torch.get_rng_state()), "nothing is drawn without it"
    seen = list[torch.Tensor]()
    network.head.classes.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trained(1, 0.5)
    is_zero_BC = (seen[0] == 0).all(dim=3).all(dim=2)
    assert 0.2 < is_zero_BC.float().mean() < 0.8, "whole maps"
    network.eval()
    evaluated = network(images)
    network.head.dropout = 0.0
    assert torch.equal(network(images), evaluated)
