"""Slimming a network with a dense head: its moves, its channels in another order, and weights cut from an ancestor."""

import copy
import random
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import nn

from efficientformer.arch.cost import part_cost
from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.head_space import HeadSpace
from efficientformer.arch.moves import Drop, Narrow, NarrowHead
from efficientformer.arch.parts import Part, network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import space_below, v1_space, v2_space
from efficientformer.arch.spec import AttnFFN
from efficientformer.errors import ArchitectureError
from efficientformer.models.network import Network
from efficientformer.search.actions import possible_actions
from efficientformer.search.candidates import State
from efficientformer.search.mutation import mutant
from efficientformer.search.parent import inherit
from efficientformer.search.rivals.optimum import find_optimum
from efficientformer.search.rivals.surrogate import fit_surrogate
from efficientformer.search.scoring.accuracy import extract_network, normalize_by_batch, reestimate_batch_norm
from efficientformer.search.scoring.permutation import permute_stage
from efficientformer.search.slim import slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.mixing import Mixing
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.weighing import patient, weigh_in_turn

from .test_optimum import every_subnet

SEMANTIC = HeadSpace("semantic_fpn", (24, 16), (16, 8))
BOXES = HeadSpace("one_stage", (16, 8), (16,), (2, 1))
SIZE = (32, 48)
V1 = v1_space(name="v1", max_widths=(16, 32, 32, 48), max_depths=(1, 1, 2, 2), max_mb3d=1)
V2 = v2_space("v2", (16, 32, 32, 48), (1, 1, 2, 2), attention=AttnFFN(num_heads=2, key_dim=8, value_ratio=2))
SPACES = [replace(space, head=head) for space in (V1, V2) for head in (SEMANTIC, BOXES)]
every_space = pytest.mark.parametrize("space", SPACES, ids=["v1-semantic", "v1-boxes", "v2-semantic", "v2-boxes"])


def ancestor_of(space: SearchSpace) -> Supernet | SlimmableNetwork:
    if space.is_v2:
        return SlimmableNetwork(space, resolution=SIZE, num_classes=3)
    return Supernet(space, resolution=SIZE, num_classes=3)


def trained(architecture) -> Network:
    """With norms and scales away from where they start."""
    network = Network(architecture, num_classes=3, resolution=SIZE, layer_scale_init=0.3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    network.train()(torch.randn(8, 3, *SIZE))
    return network.eval()


@every_space
def test_a_space_of_heads_holds_what_it_draws_and_shrinks_to_its_smallest(space):
    assert SearchSpace.from_json(space.to_json()) == space
    rng, heads = random.Random(0), set()
    subnet = Subnet.largest(space)
    for _ in range(30):
        drawn = space.random(rng)
        heads.add(drawn.head)
        assert space.holds(drawn) and not space.holds(replace(drawn, head=None))
        subnet = mutant(subnet, space, rng)
        assert space.holds(subnet.architecture)
        heads.add(subnet.architecture.head)
    assert heads == set(space.head.every()) and len(heads) == 4
    network = space.largest()
    while moves := list(space.shrinks(network)):
        network = moves[-1].apply(network)
        assert space.holds(network)
    assert network.head == space.smallest().head and network.widths == space.min_widths


def test_a_classifiers_space_draws_what_it_drew():
    """A head without a choice spends no random number, and none is in the JSON of a classifier's space."""
    drawn = [space.random(random.Random(3)) for space in (V1, replace(V1, head=HeadSpace.of(SEMANTIC.largest())))]
    assert replace(drawn[1], head=None) == drawn[0] and "head" not in V1.to_json()
    with pytest.raises(ArchitectureError, match="The head has no option fpn_width: it is that of a classifier"):
        NarrowHead("fpn_width", 8).apply(V1.largest())


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"kind": "semantic_fpn", "width": [8, 16]}, r"head\.width must be choices in descending order"),
        ({"kind": "semantic_fpn", "depth": 2}, r"head\.depth is no option of semantic_fpn"),
        ({"kind": "one_stage", "fpn_width": [24, 12]}, "fpn_width must be a multiple of 8, not 12"),
        ({"kind": "fcos"}, r"head\.kind"),
    ],
)
def test_heads_that_no_space_has_are_refused(head, message):
    with pytest.raises(ArchitectureError, match=message):
        SearchSpace.from_json({**V1.to_json(), "head": head})


@every_space
@torch.no_grad()
def test_judging_normalizes_as_training_does(space):
    """Every statistic, that of the convolutions which all levels of a head for boxes share included."""
    network, images = trained(space.largest()), torch.randn(4, 3, *SIZE)
    judged, estimated, learning = (copy.deepcopy(network) for _ in range(3))
    for module in learning.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    normalize_by_batch(judged)
    torch.testing.assert_close(judged(images), learning.train()(images))
    reestimate_batch_norm(estimated, [images])
    torch.testing.assert_close(dict(estimated.named_buffers()), dict(learning.named_buffers()))


@every_space
@torch.no_grad()
def test_a_stages_channels_in_another_order_change_nothing(space):
    network, images = trained(space.largest()), torch.randn(2, 3, *SIZE)
    expected = network(images)
    for stage, width in enumerate(space.max_widths):
        before = network.stages[stage].blocks[0].mlp.fc1.weight.clone()
        permute_stage(network, stage, torch.randperm(width, generator=torch.Generator().manual_seed(stage)))
        assert not torch.equal(network.stages[stage].blocks[0].mlp.fc1.weight, before)
        assert (network(images) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@every_space
@torch.no_grad()
def test_a_parent_is_inherited_whole_and_cut_in_every_width(space):
    parent, images = trained(space.largest()), torch.randn(2, 3, *SIZE)
    ancestor = ancestor_of(space).eval()
    inherit(ancestor, parent)
    whole = extract_network(ancestor, Subnet.largest(space)).eval()
    torch.testing.assert_close(whole(images), parent(images), rtol=1e-5, atol=1e-5)
    option, to = next(space.head.shrinks(parent.architecture.head))
    cut = Subnet.largest(space).after(
        Narrow(0, 16 - space.min_widths[0]), Narrow(3, 16), NarrowHead(option, to), Drop(2, 0)
    )
    smaller = extract_network(ancestor, cut).eval()
    assert smaller(images).isfinite().all() and smaller(images).shape == parent(images).shape
    weight = smaller.head.fpn.laterals[-1].weight
    assert torch.equal(weight, parent.head.fpn.laterals[-1].weight[:to, :32]) and weight.shape[:2] == (to, 32)


@every_space
def test_an_ancestor_trains_every_weight_of_its_head(space):
    ancestor, images = ancestor_of(space), torch.randn(2, 3, *SIZE)
    largest, smallest = Subnet.largest(space), Subnet.smallest(space)
    if isinstance(ancestor, Supernet):
        mixing = Mixing(1.0)
        outputs = [
            ancestor.forward_at(space.max_widths, images, mixing),
            ancestor.forward_at(space.min_widths, images, mixing, head=space.head.smallest()),
        ]
    else:
        outputs = [ancestor.forward_at(subnet, images, recompute=True) for subnet in (largest, smallest)]
    assert outputs[0].shape == outputs[1].shape
    outputs[1].square().mean().backward()
    lateral = ancestor.head.fpn.laterals[-1].weight
    width, in_width = space.head.smallest().fpn_width, space.min_widths[-1]
    assert lateral.grad[:width, :in_width].any() and not lateral.grad[width:].any()
    outputs[0].square().mean().backward()
    assert [name for name, p in ancestor.head.named_parameters() if p.grad is None] == []


def test_a_slimmable_network_computes_its_largest_network():
    ancestor, images = ancestor_of(SPACES[2]).eval(), torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        found = ancestor.forward_at(Subnet.largest(SPACES[2]), images)
        torch.testing.assert_close(found, ancestor(images))


def latency(architecture) -> float:
    """Heads cost as much as stages."""
    head = architecture.head
    return sum(architecture.widths) + 4 * head.fpn_width + head.width + 16 * getattr(head, "depth", 0)


def additive(subnet: Subnet) -> float:
    """The widths of stages matter most, the depth of a head least."""
    head = subnet.architecture.head
    return sum(subnet.architecture.widths) / 4 + head.fpn_width / 8 + head.width / 8 + getattr(head, "depth", 0) / 8


@every_space
def test_slimming_makes_the_head_smaller_where_that_costs_least(space):
    largest = Subnet.largest(space)
    importances = [[1.0] * depth for depth in space.max_depths]
    found = {str(action): action for action in possible_actions(largest, importances, space)}
    assert "the head's pyramid narrows to " + str(space.head.fpn_width[1]) in found
    last = "the head narrows to 8" if space.head is SEMANTIC else "the head's branches shorten to 1"
    assert found[last].stage is None and found[last].result.origins == largest.origins
    start = State(largest, latency(largest.architecture), additive(largest))
    taken = islice(slim(start, importances, space, weigh_in_turn(latency, patient(additive))), 2)
    heads = [step.state.subnet.architecture.head for step in taken]
    first, second = ("fpn_width", "width") if space.head is SEMANTIC else ("depth", "fpn_width")
    assert heads[0] == replace(space.largest().head, **{first: space.head.options[first][1]})
    assert heads[1] == replace(heads[0], **{second: space.head.options[second][1]})


@pytest.mark.parametrize("head", [SEMANTIC, BOXES], ids=["semantic", "boxes"])
def test_the_optimum_is_the_best_of_all_networks_and_heads(head):
    space = replace(v1_space("tiny", (32, 16, 32, 16), (1, 1, 1, 2), 1), head=head)
    surrogate = fit_surrogate(space, additive)
    every = [
        replace(subnet, architecture=replace(subnet.architecture, head=own))
        for subnet in every_subnet(space)
        for own in head.every()
    ]
    assert all(surrogate(subnet) == pytest.approx(additive(subnet)) for subnet in every[:50])

    def part_ms(part: Part) -> float:
        return 0.001 + 1e-6 * part_cost(part).macs

    def network_ms(subnet: Subnet) -> float:
        return sum(map(part_ms, network_parts(subnet.architecture, 64, 3)))

    for share in (0.4, 0.6, 0.8):
        budget_ms = share * network_ms(Subnet.largest(space))
        best = find_optimum(space, surrogate, part_ms, resolution=64, num_classes=3, budget_ms=budget_ms).subnet
        drops = [surrogate.drop(subnet) for subnet in every if network_ms(subnet) <= budget_ms]
        assert drops and network_ms(best) <= budget_ms and space.holds(best.architecture)
        assert surrogate.drop(best) == pytest.approx(min(drops), abs=1e-6)


def test_the_space_below_a_task_model_narrows_its_head():
    network = replace(V1.largest(), head=SemanticFpn(96, 24))
    below = space_below("below", network)
    assert below.largest() == network and below.smallest().head == SemanticFpn(24, 16)
    assert len([move for move in below.shrinks(network) if isinstance(move, NarrowHead)]) == 2
    assert HeadSpace.below(OneStage(40, 16, 3)) == HeadSpace("one_stage", (40, 16), (16,), (3, 2, 1))
