"""A trained network as the ancestor: what is absorbed, sorted and not cut computes the same."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from efficientformer.arch.moves import Contract, Drop, Narrow, PruneHeads, Swap
from efficientformer.arch.spaces import space_below
from efficientformer.arch.spec import FFN, AttnFFN
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, UsageError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.parent import inherit, prepare_to_cut
from efficientformer.search.scoring.accuracy import absorb_network, extract_network, reestimate_batch_norm
from efficientformer.search.scoring.channels import channel_importances, sort_ancestor
from efficientformer.search.scoring.hidden_means import hidden_means, keep_means
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.tasks.classification.kind import ONE_LABEL

RESOLUTION, CLASSES = 64, 5
NAMES = [name for name in ZOO if name not in ("efficientformer_l7", "efficientformerv2_l")]
"""The largest have more of the same blocks."""


def trained(name: str) -> Network:
    """A published architecture whose every tensor matters."""
    torch.manual_seed(0)
    network = create_model(name, num_classes=CLASSES, resolution=RESOLUTION).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return network


def ancestor_of(parent: Network) -> Ancestor:
    space = space_below("below", parent.architecture)
    return (SlimmableNetwork if space.is_v2 else Supernet)(space, resolution=RESOLUTION, num_classes=CLASSES)


def largest_of(ancestor: Ancestor) -> Network:
    return extract_network(ancestor, Subnet.largest(ancestor.space)).eval()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_absorbing_and_sorting_change_no_published_network(name):
    parent, images = trained(name), torch.randn(2, 3, RESOLUTION, RESOLUTION)
    ancestor = ancestor_of(parent)
    inherit(ancestor, parent)
    expected = parent(images)
    assert torch.allclose(largest_of(ancestor)(images), expected, atol=1e-5 * float(expected.abs().max()))
    before = {name: tensor.clone() for name, tensor in ancestor.state_dict().items()}
    sort_ancestor(ancestor, [(torch.randn(8, 3, RESOLUTION, RESOLUTION), torch.arange(8) % CLASSES)], ONE_LABEL)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in ancestor.state_dict().items())
    assert torch.allclose(largest_of(ancestor)(images), expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_the_space_below_has_the_network_on_top_and_every_way_down(name):
    architecture = ZOO[name]
    space = space_below("below", architecture)
    assert space.largest() == architecture
    moves = list(space.shrinks(architecture))
    assert {type(move) for move in moves} == {Drop, Narrow, Contract, PruneHeads, Swap}
    if space.is_v2:
        attending = [
            (s, b)
            for s, stage in enumerate(architecture.stages)
            for b, x in enumerate(stage.blocks)
            if isinstance(x, AttnFFN)
        ]
        assert [(move.stage, move.block) for move in moves if isinstance(move, Swap)] == attending


@torch.no_grad()
def test_what_the_parent_does_not_have_adds_nothing():
    """Attention in a place without it, and hidden channels beyond those of a contracted MLP."""
    parent, images = trained("efficientformerv2_s0"), torch.randn(2, 3, RESOLUTION, RESOLUTION)
    ancestor = ancestor_of(parent)
    inherit(ancestor, parent)
    largest, stage = Subnet.largest(ancestor.space), parent.architecture.stages[2]
    place = next(place for place, block in enumerate(stage.blocks) if isinstance(block, FFN) and block.mlp_ratio < 4)
    attention = next(block for block in stage.blocks if isinstance(block, AttnFFN))
    more = largest.after(Swap(2, place, replace(attention, mlp_ratio=4)))
    assert torch.allclose(extract_network(ancestor, more).eval()(images), parent(images), atol=1e-5)
    fewer = largest.after(Drop(2, place))
    assert not torch.allclose(extract_network(ancestor, fewer).eval()(images), parent(images), atol=1e-5)


def test_other_parents_and_spaces_are_refused():
    parent = trained("efficientformerv2_s0")
    with pytest.raises(UsageError, match="the largest network of the space is"):
        inherit(ancestor_of(trained("efficientformer_l1")), parent)
    stage = parent.architecture.stages[3]
    other = replace(stage, blocks=(*stage.blocks, AttnFFN(key_dim=16)))
    with pytest.raises(ArchitectureError, match="Stage 4 has blocks of one kind with different options"):
        space_below("below", parent.architecture.with_stage(3, other))


def contracted(parent: Network) -> tuple[Ancestor, Subnet]:
    """An ancestor with the means of the parent's hidden neurons, and its subnet with every MLP one ratio smaller."""
    ancestor = ancestor_of(parent)
    inherit(ancestor, parent)
    largest = Subnet.largest(ancestor.space)
    keep_means(ancestor, largest, hidden_means(largest_of(ancestor), [torch.randn(4, 3, RESOLUTION, RESOLUTION)]))
    stages = parent.architecture.stages
    moves = [Contract(s, b, x.mlp_ratio - 1) for s, stage in enumerate(stages) for b, x in enumerate(stage.blocks)]
    return ancestor, largest.after(*moves)


def make_the_last_neurons_constant(parent: Network) -> None:
    """Those of the last ratio of every MLP."""
    for stage, of_stage in zip(parent.stages, parent.architecture.stages, strict=True):
        for block in stage.blocks:
            mlp = block.mlp
            for layer in [getattr(mlp, name) for name in ("fc1", "norm1", "mid", "mid_norm") if hasattr(mlp, name)]:
                layer.weight[-of_stage.width :] = 0
                layer.bias[-of_stage.width :].uniform_(0.5, 1)


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
@torch.no_grad()
def test_folding_the_mean_of_constant_neurons_changes_nothing(name):
    parent, images = trained(name), torch.randn(2, 3, RESOLUTION, RESOLUTION)
    make_the_last_neurons_constant(parent)
    ancestor, subnet = contracted(parent)
    expected = parent(images)
    assert torch.allclose(extract_network(ancestor, subnet).eval()(images), expected, atol=1e-4)
    ancestor.hidden_means = nn.Module()
    assert not torch.allclose(extract_network(ancestor, subnet).eval()(images), expected, atol=1e-2)


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
@torch.no_grad()
def test_what_was_trained_after_a_cut_comes_back_as_it_was(name):
    ancestor, subnet = contracted(trained(name))
    network = extract_network(ancestor, subnet).eval()
    for parameter in network.parameters():
        parameter.add_(0.01)
    absorb_network(ancestor, subnet, network)
    again = extract_network(ancestor, subnet).eval()
    for (name, first), second in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.allclose(first, second, atol=1e-6), name


def test_channels_are_sorted_by_their_importance_to_the_parent_alone():
    """The other kinds of block, which have learned nothing, have no say."""
    parent = trained("efficientformer_l1")
    ancestor = ancestor_of(parent)
    inherit(ancestor, parent)
    batches = [(torch.randn(8, 3, RESOLUTION, RESOLUTION), torch.arange(8) % CLASSES)]
    prepare_to_cut(ancestor, batches, Subnet.largest(ancestor.space), ONE_LABEL)
    network = largest_of(ancestor)
    reestimate_batch_norm(network, [images for images, _ in batches])
    found = channel_importances(network, batches, ONE_LABEL)
    inside = [row for stage in (*found.hidden, found.heads[3][-1:]) for row in stage]
    assert len(inside[-1]) == 8
    for row in [*found.stem, *found.stages, *inside]:
        assert torch.all(row[1:] <= row[:-1] + 1e-3 * row.max())
