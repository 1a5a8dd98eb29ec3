"""A network on the way down, trained and sorted again: what is kept of the ancestor, and what it computes."""

import copy

import pytest
import torch
from torch import nn

from efficientformer.arch.moves import Contract, Drop, Narrow
from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.parent import prepare_to_cut
from efficientformer.search.scoring.accuracy import (
    SupernetAccuracy,
    absorb_network,
    extract_network,
    reestimate_batch_norm,
)
from efficientformer.search.scoring.channels import channel_importances
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.tasks.classification.kind import ONE_LABEL

from .by_hand import swap_first
from .slimmable import CLASSES, RESOLUTION, SPACE, images, random_subnets, random_supernet

V1_SPACE = v1_space(
    "tiny", (32, 32, 48, 48), (2, 1, 2, 2), 3, stem_strides=(2, 1), mb3d=MB3D(num_heads=2, key_dim=8, value_ratio=2)
)
BATCHES = [(images(20), torch.arange(20) % CLASSES)]


def of_metapaths() -> Supernet:
    torch.manual_seed(0)
    supernet = Supernet(V1_SPACE, resolution=RESOLUTION, num_classes=CLASSES)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return supernet


def half_way(ancestor: Ancestor) -> Subnet:
    """Narrow stages, a place that is dropped before one that is kept, and a smaller MLP or another kind of block."""
    subnet = Subnet.largest(ancestor.space).after(Drop(0, 0), Narrow(0, 16), Narrow(2, 16), Narrow(3, 16))
    return subnet if isinstance(ancestor, Supernet) else subnet.after(Contract(2, 0, 2))


@pytest.fixture(params=[random_supernet, of_metapaths], ids=["v2", "v1"])
def ancestor(request) -> Ancestor:
    """One that was sorted by its largest network, the parent, with the means of its hidden neurons."""
    made = request.param().eval()
    prepare_to_cut(made, BATCHES, Subnet.largest(made.space), ONE_LABEL)
    return made


def outputs(ancestor: Ancestor, subnet: Subnet) -> torch.Tensor:
    network = extract_network(ancestor, subnet)
    reestimate_batch_norm(network, [x for x, _ in BATCHES])
    with torch.no_grad():
        return network(images())


def test_sorting_again_changes_neither_the_network_nor_any_that_is_wider(ancestor):
    subnet, largest = half_way(ancestor), Subnet.largest(ancestor.space)
    before = {net: outputs(ancestor, net) for net in (subnet, largest, largest.after(Drop(0, 0)))}
    orders = prepare_to_cut(ancestor, BATCHES, subnet, ONE_LABEL)
    for net, expected in before.items():
        assert torch.allclose(outputs(ancestor, net), expected, atol=2e-4 * float(expected.abs().max())), net
    for order, width, all_width in zip(orders, subnet.architecture.widths, ancestor.space.max_widths, strict=True):
        assert sorted(order[:width]) == list(range(width)) and order[width:] == list(range(width, all_width))
    assert orders != [list(range(width)) for width in ancestor.space.max_widths]


def test_the_most_important_channels_of_the_network_come_first(ancestor):
    subnet = half_way(ancestor)
    prepare_to_cut(ancestor, BATCHES, subnet, ONE_LABEL)
    network = extract_network(ancestor, subnet)
    reestimate_batch_norm(network, [x for x, _ in BATCHES])
    found = channel_importances(network, BATCHES, ONE_LABEL)
    for row in [*found.stem, *found.stages, *(hidden for stage in found.hidden for hidden in stage)]:
        assert torch.all(row[1:] <= row[:-1] + 1e-3 * row.max())


def test_means_are_of_the_network_and_of_the_parent_beyond_it(ancestor):
    subnet = half_way(ancestor)
    before = {name: mean.clone() for name, mean in ancestor.hidden_means.named_buffers()}
    network = extract_network(ancestor, subnet)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05)
    absorb_network(ancestor, subnet, network)
    prepare_to_cut(ancestor, BATCHES, subnet, ONE_LABEL)
    after = dict(ancestor.hidden_means.named_buffers())
    kept = {f"stages-{stage}-blocks-{place}-" for stage, places in enumerate(subnet.origins) for place in places}
    for name, mean in before.items():
        if not name.startswith(tuple(kept)) and not isinstance(ancestor, Supernet):
            assert torch.equal(after[name], mean), "of a place that the network does not have"
    assert any(not torch.equal(after[name], mean) for name, mean in before.items())


def test_a_trained_network_is_what_comes_out_again_and_what_is_cut_further_follows_it(ancestor):
    subnet = half_way(ancestor)
    smaller = subnet.after(Narrow(3, 16))
    before = outputs(ancestor, smaller)
    network = extract_network(ancestor, subnet)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    reestimate_batch_norm(network, [x for x, _ in BATCHES])
    expected = network(images())
    absorb_network(ancestor, subnet, network)
    prepare_to_cut(ancestor, BATCHES, subnet, ONE_LABEL)
    found = extract_network(ancestor, subnet).eval()(images())
    assert torch.allclose(found, expected, atol=2e-4 * float(expected.abs().max()))
    assert not torch.allclose(outputs(ancestor, smaller), before, atol=1e-2 * float(before.abs().max()))


def test_another_kind_of_block_on_the_way_has_means_that_other_weights_do_not_have():
    """Scores go from one version of the weights to another and back."""
    parent = of_metapaths().eval()
    prepare_to_cut(parent, BATCHES, Subnet.largest(V1_SPACE), ONE_LABEL)
    swapped = swap_first(Subnet.largest(V1_SPACE), V1_SPACE)
    second = copy.deepcopy(parent)
    prepare_to_cut(second, BATCHES, swapped, ONE_LABEL)
    more = len(list(second.hidden_means.buffers())) - len(list(parent.hidden_means.buffers()))
    assert more == 1
    scorer = SupernetAccuracy(copy.deepcopy(parent), [], BATCHES, ONE_LABEL)
    scores = {}
    for name, weights in (("parent", parent), ("second", second), ("parent", parent)):
        scorer.use_weights(weights.state_dict())
        score = scorer.score(Subnet.smallest(V1_SPACE))
        assert scores.setdefault(name, score) == score
        assert len(list(scorer.supernet.hidden_means.buffers())) == len(list(weights.hidden_means.buffers()))


@torch.no_grad()
def test_a_slimmable_network_trains_what_is_scored():
    """Its subnets have the means of hidden neurons as networks cut from it have them."""
    supernet = random_supernet().eval()
    plain = [supernet.forward_at(subnet, images()) for subnet in random_subnets(6)]
    prepare_to_cut(supernet, BATCHES, Subnet.largest(SPACE), ONE_LABEL)
    differing = 0
    for subnet, unsorted in zip(random_subnets(6), plain, strict=True):
        found = supernet.forward_at(subnet, images())
        assert torch.allclose(found, extract_network(supernet, subnet).eval()(images()), atol=1e-5)
        differing += not torch.allclose(found, unsorted, atol=1e-3)
    assert differing
    means, supernet.hidden_means = supernet.hidden_means, nn.Module()
    without = [supernet.forward_at(subnet, images()) for subnet in random_subnets(6)]
    supernet.hidden_means = means
    assert not all(
        torch.allclose(supernet.forward_at(subnet, images()), other, atol=1e-3)
        for subnet, other in zip(random_subnets(6), without, strict=True)
    )
