"""Reordered channels change no output; every tensor takes part; what matters comes first."""

import random

import pytest
import torch
from torch import nn

from efficientformer.arch.spaces import SPACES
from efficientformer.arch.spec import num_heads_of
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.search.scoring import permutation
from efficientformer.search.scoring.channels import channel_importances, sort_channels
from efficientformer.search.scoring.permutation import (
    heads_axes,
    hidden_axes,
    permute_heads,
    permute_hidden,
    permute_stage,
    permute_stem,
    stage_axes,
    stem_axes,
)
from efficientformer.tasks.classification.kind import ONE_LABEL

from ..models.small import BOTH, BOTH_IDS, SMALL, SMALL_V2, STEMS, STEMS_IDS

ARCHITECTURES = {
    "small": SMALL,
    "small v2": SMALL_V2,
    "small, three strides": STEMS[2],
    "small v2, three strides": STEMS[3],
    "l1": ZOO["efficientformer_l1"],
    "v2_s0": ZOO["efficientformerv2_s0"],
    **{
        f"{name} {seed}": space.random(random.Random(f"{name}{seed}"))
        for name, space in SPACES.items()
        for seed in range(2)
    },
}


def trained(architecture, **options) -> Network:
    """A network in evaluation mode whose every tensor differs from channel to channel, with outputs of about 1."""
    network = Network(architecture, num_classes=7, resolution=(32, 40), layer_scale_init=0.5, **options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if tensor.dim() > 1 and "bias" not in name and tensor.dtype.is_floating_point:
                fan_in = tensor[0].numel()
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)
            elif tensor.dtype.is_floating_point:
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(
                    0.5 + noise if "var" in name or "scale" in name or "weight" in name else 0.4 * (noise - 0.5)
                )
    return network


def images(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, 32, 40, generator=torch.Generator().manual_seed(2))


def labeled(*counts: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of these sizes, of the same images and labels one after another."""
    labels = torch.arange(sum(counts)) % 7
    return list(zip(images(sum(counts)).split(counts), labels.split(counts), strict=True))


@torch.no_grad()
def output(network: Network) -> torch.Tensor:
    return network(images())


def shuffled(count: int, seed: int = 0) -> list[int]:
    return random.Random(seed).sample(range(count), count)


def difference(network: Network, before: torch.Tensor) -> float:
    """Relative to the size of the outputs, where that is above 1."""
    return float((output(network) - before).abs().max() / before.abs().max().clamp(min=1))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_order_of_all_channels_computes_the_same(name):
    architecture = ARCHITECTURES[name]
    network = trained(architecture, has_distillation_head="small" in name)
    before, weights = output(network), {key: value.clone() for key, value in network.state_dict().items()}
    permute_stem(network, shuffled(architecture.widths[0] // 2))
    if len(architecture.stem_strides) == 3:
        permute_stem(network, list(range(architecture.widths[0] // 4))[::-1], is_first=True)
    for index, stage in enumerate(architecture.stages):
        permute_stage(network, index, shuffled(stage.width, index))
        for position, block in enumerate(stage.blocks):
            permute_hidden(network, index, position, torch.tensor(shuffled(stage.width * block.mlp_ratio, position)))
            permute_heads(network, index, position, range(num_heads_of(block))[::-1])
    assert difference(network, before) <= 1e-5
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, weights[key])]
    # What has no channels of a stage or heads of a block stays: the image's, the classes', the downsample's, counters.
    kept = set(weights) - set(changed)
    inside = ("downsample.attn.", "num_batches_tracked")
    assert not [key for key in kept if not any(part in key for part in (*inside, "head.bias", "head_dist.bias"))]


@pytest.mark.parametrize("architecture", STEMS, ids=STEMS_IDS)
def test_no_tensor_may_be_forgotten(architecture):
    """With any one tensor left out of a permutation, the outputs differ."""
    forgiven = []
    plans = [(lambda net, s=s: stage_axes(net, s), architecture.widths[s]) for s in range(4)]
    plans.append((lambda net: stem_axes(net.stem), architecture.widths[0] // 2))
    if len(architecture.stem_strides) == 3:
        plans.append((lambda net: stem_axes(net.stem, is_first=True), architecture.widths[0] // 4))
    for s, stage in enumerate(architecture.stages):
        for b, block in enumerate(stage.blocks):
            plans.append(
                (lambda net, s=s, b=b: hidden_axes(net.stages[s].blocks[b].mlp), stage.width * block.mlp_ratio)
            )
            if s == 2 and (heads := num_heads_of(block)):
                plans.append((lambda net, s=s, b=b: heads_axes(net.stages[s].blocks[b].token_mixer), heads))
    source = trained(architecture, has_distillation_head=True)
    before, weights = output(source), source.state_dict()
    weights = {key: value.clone() for key, value in weights.items()}
    num_faults = 0
    for axes_of, width in plans:
        for left_out in range(len(axes_of(source))):
            source.load_state_dict(weights)
            axes = axes_of(source)
            name = axes.pop(left_out)[0]
            permutation._permute(axes, shuffled(width), width)
            num_faults += 1
            if difference(source, before) < 1e-4:
                forgiven.append(name)
    # The softmax does not see a constant of a query's scores.
    constants = {"k.conv.bias", "k.norm.bias", "k.norm.running_mean", "talking_head1.bias"}
    assert num_faults > 150 and set(forgiven) <= constants


def test_an_order_that_is_none_and_a_deploy_form_are_refused():
    network = trained(SMALL)
    for order in ([0] * 8, list(range(7)), list(range(9)), [*range(7), -1]):
        with pytest.raises(UsageError, match="each number from 0 to 7 once"):
            permute_stage(network, 0, order)
    with pytest.raises(UsageError, match="each number"):
        permute_heads(network, 0, 0, [0])
    for permute in (
        lambda net: permute_stage(net, 0, range(8)),
        lambda net: permute_hidden(net, 0, 0, range(32)),
        lambda net: permute_heads(net, 3, 0, range(2)),
    ):
        with pytest.raises(UsageError, match="deploy form"):
            permute(fuse(network))


def test_networks_without_a_head_are_reordered_too():
    network = Network(SMALL, num_classes=0, resolution=32).eval()
    before = output(network)
    permute_stage(network, 3, shuffled(32))
    with torch.no_grad():
        torch.testing.assert_close(output(network), before[:, shuffled(32)], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", STEMS, ids=STEMS_IDS)
def test_sorting_puts_first_what_matters_most_and_changes_no_output(architecture):
    network = trained(architecture)
    before = output(network)
    first = channel_importances(network, labeled(4, 3), ONE_LABEL)
    sort_channels(network, first)
    assert difference(network, before) <= 1e-5
    again = channel_importances(network, labeled(4, 3), ONE_LABEL)
    flat = lambda found: [*found.stem, *found.stages, *(row for rows in found.hidden + found.heads for row in rows)]  # noqa: E731
    for unsorted, in_order in zip(flat(first), flat(again), strict=True):
        torch.testing.assert_close(in_order, unsorted.sort(descending=True).values, rtol=1e-3, atol=1e-5)


def silenced(network: Network, channels, share: float) -> None:
    """Less of a channel, by the weights: of all that is written into it, or of those that read it."""
    match channels:
        case "stem", channel:
            network.stem.conv2.weight[:, channel] *= 1 - share
        case stage, channel:
            entry = network.stages[stage].downsample if stage else network.stem
            norms = [entry.norm if stage else entry.norm2, *([entry.attn.proj.norm] if hasattr(entry, "attn") else [])]
            scales = [norm.weight for norm in norms] + [norm.bias for norm in norms]
            for block in network.stages[stage].blocks:
                names = ("layer_scale_1", "layer_scale_2")
                scales += [getattr(block, name) for name in names if hasattr(block, name)]
            for scale in scales:
                scale[channel] *= 1 - share
        case stage, block, "head", head:
            mixer = network.stages[stage].blocks[block].token_mixer
            others = [other for other in range(mixer.num_heads) if other != head]
            for name in ("talking_head1", "talking_head2"):
                if hasattr(mixer, name):
                    getattr(mixer, name).weight[others, head] *= 1 - share
            weight = getattr(mixer.proj, "conv", mixer.proj).weight
            weight.view(len(weight), mixer.num_heads, -1)[:, head] *= 1 - share
        case stage, block, channel:
            network.stages[stage].blocks[block].mlp.fc2.weight[:, channel] *= 1 - share


@pytest.mark.parametrize("architecture", BOTH, ids=BOTH_IDS)
@torch.no_grad()
def test_an_importance_is_the_change_of_the_loss_without_the_channel_to_first_order(architecture):
    """By differences, in double precision; the mean over images of the absolute change."""
    network = trained(architecture).double()
    ((x, labels),) = labeled(5)
    x, share = x.double(), 1e-6
    found = channel_importances(network, [(x, labels)], ONE_LABEL)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def losses():
        return nn.functional.cross_entropy(network(x), labels, reduction="none")

    before, last = losses(), len(architecture.stages[2].blocks) - 1
    # The stem's activation of V2 is not linear above zero, so its output is not scaled by its weights.
    stages = [1, 2, 3] if architecture.is_v2 else [0, 1, 2, 3]
    cases = [(("stem", 1), found.stem[0][1]), *(((stage, 5), found.stages[stage][5]) for stage in stages)]
    cases += [((stage, 0, 7), found.hidden[stage][0][7]) for stage in range(4)]
    cases += [((2, last, 2), found.hidden[2][last][2])]
    cases += [((2, last, "head", head), found.heads[2][last][head]) for head in range(2)]
    cases += [((3, 0, "head", 1), found.heads[3][0][1])]
    for channels, importance in cases:
        silenced(network, channels, share)
        expected = (losses() - before).abs().mean() / share
        assert importance.item() == pytest.approx(expected.item(), rel=1e-3), channels
        network.load_state_dict(weights)


@pytest.mark.parametrize("architecture", BOTH, ids=BOTH_IDS)
def test_a_channel_that_is_silent_or_that_nobody_reads_has_no_importance(architecture):
    network = trained(architecture)
    with torch.no_grad():
        silenced(network, (2, 5), 1.0)
        silenced(network, (3, 0, 3), 1.0)
        silenced(network, ("stem", 0), 1.0)
        silenced(network, (3, 0, "head", 1), 1.0)
    found = channel_importances(network, labeled(6), ONE_LABEL)
    assert [len(row) for row in found.heads[1]] == [0]
    for importance, silent in (
        (found.stages[2], 5),
        (found.hidden[3][0], 3),
        (found.stem[0], 0),
        (found.heads[3][0], 1),
    ):
        assert importance[silent] == 0 and (importance > 0).sum() == len(importance) - 1


def test_batches_of_any_size_give_the_same_importances_and_leave_no_hook():
    network = trained(SMALL_V2)
    network.train()
    for one, other in zip(
        channel_importances(network, labeled(6), ONE_LABEL).stages,
        channel_importances(network, labeled(1, 2, 3), ONE_LABEL).stages,
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert network.training and all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    with pytest.raises(UsageError, match="there are none"):
        channel_importances(network, [], ONE_LABEL)


def test_cutting_what_matters_least_hurts_less_than_cutting_what_matters_most():
    """Hidden channels cut from the end, by setting their outgoing weights to zero: what a prefix keeps."""
    errors, batches = {}, labeled(4)
    for is_reversed in (False, True):
        network = trained(SMALL)
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    scale = torch.rand(module.weight.shape[0], generator=torch.Generator().manual_seed(3)) ** 3
                    module.weight.mul_(3 * scale.reshape(-1, *[1] * (module.weight.dim() - 1)))
        before = output(network)
        sort_channels(network, channel_importances(network, batches, ONE_LABEL))
        with torch.no_grad():
            for stage in network.stages:
                for block in stage.blocks:
                    weight = block.mlp.fc2.weight
                    half = weight.shape[1] // 2
                    weight[:, :half] *= 0 if is_reversed else 1
                    weight[:, half:] *= 1 if is_reversed else 0
        errors[is_reversed] = difference(network, before)
    assert errors[False] < 0.5 * errors[True]
