"""Whole heads: what a network with fewer of them computes, which ones stay, and when slimming takes one."""

import random

import pytest
import torch

from efficientformer.arch.moves import Drop, PruneHeads, Swap
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import space_below, v2_space
from efficientformer.arch.spec import FFN, MB3D, Architecture, AttnFFN, Stage, num_heads_of
from efficientformer.arch.zoo import ZOO, build_architecture
from efficientformer.exporting.onnx import export_onnx
from efficientformer.exporting.parity import onnx_parity
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.models.token_mixers import Attention
from efficientformer.search.actions import possible_actions
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.candidates import State
from efficientformer.search.contenders import shape
from efficientformer.search.mutation import mutant
from efficientformer.search.parent import inherit
from efficientformer.search.rivals.baselines import CoarseSpace
from efficientformer.search.scoring.accuracy import extract_network
from efficientformer.search.scoring.channels import sort_ancestor
from efficientformer.search.slim import slim
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.weighing import patient, weigh_in_turn, weigh_lazily
from efficientformer.tasks.classification.kind import ONE_LABEL

V1 = build_architecture((8, 16, 24, 32), (1, 1, 2, 2), 3, stem_strides=(2, 1), mb3d=MB3D(2, 4, 8, 2))
V2 = Architecture(
    (
        Stage(8, (FFN(2),)),
        Stage(16, (FFN(2),)),
        Stage(24, (FFN(2), AttnFFN(2, 4, 8, 3, stride=2))),
        Stage(32, (FFN(1), AttnFFN(2, 4, 8, 2))),
    ),
    stem_strides=(2, 1),
)
MIXED = [PruneHeads(3, 0, 2).apply(V1), V2.with_stage(3, Stage(32, (AttnFFN(1, 2, 8, 2), *V2.stages[3].blocks[1:])))]
"""Blocks with two and with four heads in one stage."""
BOTH = pytest.mark.parametrize("architecture", [V1, V2], ids=["v1", "v2"])
PLACES = (2, 1), (3, 1)
SIZE, CLASSES = 32, 5


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(count))


@torch.no_grad()
def random_parent(architecture: Architecture) -> Network:
    """In evaluation mode; no two channels or heads are alike."""
    torch.manual_seed(1)
    network = Network(architecture, num_classes=CLASSES, resolution=SIZE, layer_scale_init=0.5).eval()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand_like(tensor)
            tensor += noise if "var" in name else 0.2 * (noise - 0.5) if tensor.dim() > 1 else 0.5 * (noise - 0.5)
    return network


@torch.no_grad()
def inherited(parent: Network) -> Ancestor:
    space = space_below("below", parent.architecture)
    ancestor = (SlimmableNetwork if space.is_v2 else Supernet)(space, resolution=SIZE, num_classes=CLASSES).eval()
    inherit(ancestor, parent)
    return ancestor


@torch.no_grad()
def outputs(ancestor: Ancestor, subnet: Subnet) -> torch.Tensor:
    return extract_network(ancestor, subnet).eval()(images())


@torch.no_grad()
def silence(network: Network, place: tuple[int, int], heads: slice) -> None:
    """Nothing that these heads write is read: neither their values nor, by talking heads, their scores and weights."""
    mixer = network.stages[place[0]].blocks[place[1]].token_mixer
    proj = mixer.proj if isinstance(mixer, Attention) else mixer.proj.conv
    by_head = proj.weight.view(len(proj.weight), mixer.num_heads, -1)
    by_head[:, heads] = 0
    if not isinstance(mixer, Attention):
        own = torch.eye(mixer.num_heads, dtype=torch.bool)
        for talking in (mixer.talking_head1, mixer.talking_head2):
            talking.weight[:, heads] *= own[:, heads, None, None]


def without_two_heads(subnet: Subnet) -> Subnet:
    return subnet.after(*(PruneHeads(*place, 2) for place in PLACES))


@BOTH
@torch.no_grad()
def test_a_network_with_all_heads_is_the_parent_and_with_fewer_the_one_that_has_only_the_first(architecture):
    parent = random_parent(architecture)
    ancestor, largest = inherited(parent), Subnet.largest(space_below("below", architecture))
    expected = parent(images())
    assert torch.allclose(outputs(ancestor, largest), expected, atol=1e-5)
    for place in PLACES:
        silence(parent, place, slice(2, None))
    fewer = outputs(ancestor, without_two_heads(largest))
    assert torch.allclose(fewer, parent(images()), atol=1e-5) and not torch.allclose(fewer, expected, atol=1e-2)


@BOTH
def test_heads_that_write_nothing_are_sorted_to_the_end_and_cut_without_a_change(architecture):
    parent = random_parent(architecture)
    for place in PLACES:
        silence(parent, place, slice(1, 3))
    ancestor = inherited(parent)
    largest = Subnet.largest(ancestor.space)
    before = outputs(ancestor, largest)
    assert not torch.allclose(outputs(ancestor, without_two_heads(largest)), before, atol=1e-3)
    sort_ancestor(ancestor, [(images(8), torch.arange(8) % CLASSES)], ONE_LABEL, measured_on=largest)
    assert torch.allclose(outputs(ancestor, largest), before, atol=1e-5)
    assert torch.allclose(outputs(ancestor, without_two_heads(largest)), before, atol=1e-5)


@pytest.mark.parametrize("architecture", MIXED, ids=["v1", "v2"])
@torch.no_grad()
def test_a_parent_whose_blocks_have_different_numbers_of_heads(architecture):
    """As slimming leaves one. Heads that it does not have add nothing, also after the others were sorted."""
    parent = random_parent(architecture)
    ancestor, expected = inherited(parent), parent(images())
    largest, more = Subnet.largest(ancestor.space), PruneHeads(3, 0, 4)
    assert largest.architecture == architecture and ancestor.space.stages[3].heads == (4, 3, 2, 1)
    for _ in range(2):
        assert torch.allclose(outputs(ancestor, largest), expected, atol=1e-5)
        assert torch.allclose(outputs(ancestor, largest.after(more)), expected, atol=1e-5)
        sort_ancestor(ancestor, [(images(8), torch.arange(8) % CLASSES)], ONE_LABEL, measured_on=largest)


@BOTH
def test_the_file_of_a_network_with_fewer_heads_computes_the_same(architecture, tmp_path):
    ancestor = inherited(random_parent(architecture))
    subnet = Subnet.largest(ancestor.space).after(PruneHeads(*PLACES[0], 3), PruneHeads(*PLACES[1], 1))
    network = extract_network(ancestor, subnet).eval()
    export_onnx(fuse(network), (1, 3, SIZE, SIZE), tmp_path / "model.onnx")
    assert onnx_parity(network, tmp_path / "model.onnx", (1, 3, SIZE, SIZE), num_images=2) <= 1e-4


def test_the_space_below_a_published_network_has_heads_in_four_steps():
    for name, architecture in ZOO.items():
        space = space_below("below", architecture)
        heads = [stage.heads for stage in space.stages]
        assert heads == [(8, 6, 4, 2) if stage.num_attending else () for stage in architecture.stages], name
        assert SearchSpace.from_json(space.to_json()) == space and space.largest() == architecture


TINY = v2_space("tiny", (16, 16, 16, 16), (1, 1, 1, 2), expansions=(1,), heads=(4, 2, 1))
LARGEST = Subnet.largest(TINY)
IMPORTANCES = [[1.0], [1.0], [3.0], [2.0, 1.0]]


def heads_ms(architecture: Architecture) -> float:
    """A millisecond a block, and half of one a head."""
    blocks = [block for stage in architecture.stages for block in stage.blocks]
    return sum(1 + num_heads_of(block) / 2 for block in blocks)


def test_a_descent_takes_heads_where_they_cost_least():
    """Two of four heads save 1 ms for 0.1 points; the attention saves 2 ms for 2, the block 3 ms for 6."""

    def accuracy(subnet: Subnet) -> float:
        blocks = [block for stage in subnet.architecture.stages for block in stage.blocks]
        worth = {4: 2.0, 2: 1.9, 1: 1.5, 0: 0.0}
        return 50 + 4 * len(blocks) + sum(worth[num_heads_of(block)] for block in blocks)

    state = State(LARGEST, heads_ms(TINY.largest()), accuracy(LARGEST))
    for weigh in (weigh_in_turn(heads_ms, patient(accuracy)), weigh_lazily(heads_ms, patient(accuracy), {})):
        steps = slim(state, IMPORTANCES, TINY, weigh, action_set="every")
        taken = [(step.candidates[step.taken], step) for step, _ in zip(steps, range(6), strict=False)]
        actions = [candidate.action for candidate, _ in taken]
        assert [action.name for action in actions] == ["prune"] * 6
        assert [str(action) for action in actions[:3]] == [
            "block 1 of stage 3 keeps 2 heads",
            "block 1 of stage 4 keeps 2 heads",
            "block 2 of stage 4 keeps 2 heads",
        ]
        assert str(actions[3]) == "block 1 of stage 3 keeps 1 head"
        assert taken[0][0].score == pytest.approx(0.1) and taken[3][0].score == pytest.approx(0.4 / 0.5)
        assert {num_heads_of(block) for block in taken[5][1].state.subnet.architecture.stages[3].blocks} == {1}
        record = taken[0][1].to_record(1)
        assert record["candidates"][record["taken"]]["into"] == "2"
        assert Subnet.from_json(record) == LARGEST.after(PruneHeads(2, 0, 2))


def test_the_papers_set_takes_heads_from_the_least_important_block_and_a_stride_goes_on():
    (prune,) = [action for action in possible_actions(LARGEST, IMPORTANCES, TINY) if action.name == "prune"]
    assert (prune.stage, prune.block, prune.into) == (4, 2, "2")

    def saving(ms: float) -> dict[tuple[int, int | None], str]:
        def is_enough(subnet: Subnet) -> bool:
            return heads_ms(subnet.architecture) <= heads_ms(TINY.largest()) - ms

        found = possible_actions(LARGEST, IMPORTANCES, TINY, "every", is_enough)
        return {(action.stage, action.block): str(action) for action in found if action.name == "prune"}

    # The same block goes on though another is less important; that one comes next.
    assert saving(1.5)[4, 1] == "block 1 of stage 4 keeps 1 head"
    assert saving(2.5)[4, 1] == "blocks 1-2 of stage 4 keep 1-2 heads"
    assert saving(3.0)[4, 1] == "blocks 1-2 of stage 4 keep 1 head"


def test_heads_taken_again_are_another_action_to_a_lazy_step():
    """The score of the first loss is none of the second."""
    last_scores = {}
    weigh = weigh_lazily(heads_ms, patient(lambda _: 50.0), last_scores)
    for subnet in (LARGEST, LARGEST.after(PruneHeads(3, 0, 2))):
        state = State(subnet, heads_ms(subnet.architecture), 50.0)
        weigh(possible_actions(subnet, IMPORTANCES, TINY, "every"), state)
    assert {("prune", 4, 0, None, 4), ("prune", 4, 0, None, 2), ("prune", 4, 1, None, 4)} <= last_scores.keys()


def test_the_coarse_search_and_a_swap_leave_heads_alone():
    kinds = {type(move) for move in CoarseSpace.of(TINY).shrinks(TINY.largest())}
    assert kinds == {Drop, Swap}
    pruned = LARGEST.after(PruneHeads(3, 0, 1))
    assert shape(pruned.architecture) == shape(LARGEST.architecture)
    assert TINY.holds(pruned.architecture) and not TINY.holds(PruneHeads(3, 0, 3).apply(TINY.largest()))
    assert Swap(3, 0, FFN(1)) in list(TINY.shrinks(pruned.architecture))


@pytest.mark.parametrize("below", [V1, V2], ids=["v1", "v2"])
def test_random_networks_and_mutants_have_any_number_of_heads(below):
    space, rng = space_below("below", below), random.Random(0)
    drawn, changed = set(), set()
    for _ in range(200):
        parent = Subnet.random(space, rng)
        assert space.holds(parent.architecture)
        drawn |= {num_heads_of(block) for block in parent.architecture.stages[3].blocks} - {0}
        child = mutant(parent, space, rng)
        assert space.holds(child.architecture)
        if child.origins == parent.origins and child.architecture.num_attending == parent.architecture.num_attending:
            pairs = zip(parent.architecture.stages[3].blocks, child.architecture.stages[3].blocks, strict=True)
            changed |= {num_heads_of(b) - num_heads_of(a) for a, b in pairs if num_heads_of(a) and num_heads_of(b)}
    assert drawn == {1, 2, 3, 4} and min(changed) < 0 < max(changed)
