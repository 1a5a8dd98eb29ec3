"""The slimmable network: what its subnets are, and how they are scored."""

import copy
from dataclasses import replace

import pytest
import torch

from efficientformer.arch.moves import Contract, Drop, Narrow, Swap
from efficientformer.arch.spaces import V2_IMAGENET, V2_QUICK, V2_STANDARD
from efficientformer.arch.spec import FFN, Stage
from efficientformer.arch.zoo import ZOO
from efficientformer.models.network import Network
from efficientformer.search.importance import drop_importances
from efficientformer.search.scoring.accuracy import (
    SupernetAccuracy,
    absorb_network,
    extract_network,
    reestimate_batch_norm,
)
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork, templates
from efficientformer.tasks.classification.kind import ONE_LABEL
from tests.search.likelihood import likelihood
from tests.search.slimmable import CLASSES, RESOLUTION, SPACE, images, random_subnets, random_supernet


@pytest.fixture
def supernet() -> SlimmableNetwork:
    return random_supernet()


def test_the_largest_subnet_is_the_network_itself(supernet):
    x, largest = images(), Subnet.largest(SPACE)
    again = copy.deepcopy(supernet).train()
    assert torch.equal(supernet.train().forward_at(largest, x), again(x))
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), f"{name}: batch norm counts alike"
    assert torch.equal(supernet.eval().forward_at(largest, x), supernet(x))
    assert torch.allclose(extract_network(supernet, largest).eval()(x), supernet(x), atol=1e-5)


def test_v2_l_is_a_subnet_of_its_space():
    """Published weights of V2-L in a larger network with more blocks, more attention and larger MLPs."""
    architecture = ZOO["efficientformerv2_l"]
    torch.manual_seed(0)
    network = Network(architecture, num_classes=7, resolution=64, layer_scale_init=0.3).eval()
    supernet = SlimmableNetwork(V2_IMAGENET, resolution=64, num_classes=7).eval()
    origins = tuple(tuple(range(depth)) for depth in architecture.depths)
    subnet = Subnet(architecture, origins)
    assert V2_IMAGENET.largest().widths == architecture.widths and V2_IMAGENET.largest() != architecture
    absorb_network(supernet, subnet, network)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(supernet.forward_at(subnet, x), network(x), atol=1e-5)
        assert torch.allclose(extract_network(supernet, subnet).eval()(x), network(x), atol=1e-5)


def test_any_subnet_is_the_network_cut_by_hand(supernet):
    """Dropped places are left out, names follow the origins, and every tensor is cut to its first channels."""
    tensors = supernet.state_dict()
    for subnet in random_subnets(12):
        network = Network(subnet.architecture, num_classes=CLASSES, resolution=RESOLUTION)
        cut = {}
        for name, tensor in network.state_dict().items():
            words = name.split(".")
            if words[:1] == ["stages"] and words[2] == "blocks":
                words[3] = str(subnet.origins[int(words[1])][int(words[3])])
            whole = tensors[".".join(words)]
            for axis, size in enumerate(tensor.shape):
                whole = whole.narrow(axis, 0, size)
            cut[name] = whole
        network.load_state_dict(cut)
        for is_training in (False, True):
            network.train(is_training), supernet.train(is_training)
            assert torch.allclose(supernet.forward_at(subnet, images()), network(images()), atol=1e-5)
        assert all(
            torch.equal(a, b)
            for a, b in zip(network.parameters(), extract_network(supernet, subnet).parameters(), strict=True)
        )


def test_a_stem_of_three_convolutions_is_cut_with_its_stage():
    space = replace(SPACE, stem_strides=(2, 1, 2))
    supernet = SlimmableNetwork(space, resolution=RESOLUTION, num_classes=CLASSES, layer_scale_init=0.5)
    for subnet in random_subnets(4, space):
        network = extract_network(supernet, subnet)
        width = subnet.architecture.widths[0]
        assert torch.equal(network.stem.first.conv.weight, supernet.stem.first.conv.weight[: width // 4])
        for is_training in (False, True):
            network.train(is_training), supernet.train(is_training)
            assert torch.allclose(supernet.forward_at(subnet, images()), network(images()), atol=1e-5)


def test_an_attending_block_becomes_the_ffn_that_it_holds(supernet):
    block = supernet.stages[3].blocks[1]
    largest = Subnet.largest(SPACE)
    subnet = largest.after(Swap(3, 1, FFN(mlp_ratio=3)))
    network = extract_network(supernet, subnet).eval()
    x = torch.randn(2, 48, 3, 3)
    assert torch.allclose(network.stages[3].blocks[1](x), block.eval().forward_mlp(x), atol=1e-6)
    contracted = extract_network(supernet, subnet.after(Contract(3, 1, 1))).stages[3].blocks[1]
    assert torch.equal(contracted.mlp.mid.weight, block.mlp.mid.weight[:48])
    assert torch.equal(contracted.mlp.fc2.weight, block.mlp.fc2.weight[:, :48])


def test_weights_go_back_to_where_they_came_from(supernet):
    before = copy.deepcopy(supernet.state_dict())
    subnet = Subnet.largest(SPACE).after(Drop(2, 0), Narrow(2, 16), Swap(2, 0, FFN(mlp_ratio=3)), Contract(0, 1, 1))
    network = extract_network(supernet, subnet)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    absorb_network(supernet, subnet, network)
    again = extract_network(supernet, subnet)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(again.parameters(), network.parameters(), strict=True))
    after = supernet.state_dict()
    assert torch.equal(after["stages.2.blocks.0.mlp.fc1.weight"], before["stages.2.blocks.0.mlp.fc1.weight"])
    changed = after["stages.2.blocks.1.mlp.fc1.weight"] != before["stages.2.blocks.1.mlp.fc1.weight"]
    assert bool(changed[: 3 * 32, :32].all()) and int(changed.sum()) == 3 * 32 * 32


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_reach_the_channels_and_places_in_use_alone(supernet, recompute):
    for subnet in random_subnets(6):
        supernet.zero_grad()
        supernet.train().forward_at(subnet, images(), recompute).square().sum().backward()
        used = {}
        for name, tensor in Network(subnet.architecture, num_classes=CLASSES, resolution=RESOLUTION).named_parameters():
            used[supernet.source_name(name, subnet, tensor.shape)] = tensor.shape
        for name, parameter in supernet.named_parameters():
            if name not in used:
                assert parameter.grad is None, f"{name} has a gradient, and no part in the network"
                continue
            inside = torch.zeros_like(parameter, dtype=torch.bool)
            inside[tuple(slice(size) for size in used[name])] = True
            assert parameter.grad is not None and not parameter.grad[~inside].any(), name
            assert parameter.grad[inside].any() or "bias" in name or parameter.grad[inside].numel() == 1, name


def test_recomputed_activations_give_the_same_gradients(supernet):
    subnet, found = random_subnets(3)[-1], []
    for recompute in (False, True):
        supernet.zero_grad()
        logits = supernet.train().forward_at(subnet, images(), recompute)
        logits.square().sum().backward()
        found.append((logits, [None if p.grad is None else p.grad.clone() for p in supernet.parameters()]))
    assert torch.equal(found[0][0], found[1][0])
    for kept, again in zip(found[0][1], found[1][1], strict=True):
        assert (kept is None) == (again is None) and (kept is None or torch.allclose(kept, again, atol=1e-6))


@pytest.mark.parametrize("space", [V2_QUICK, V2_STANDARD, V2_IMAGENET], ids=lambda space: space.name)
def test_the_templates_have_the_tensors_of_the_network(space):
    for subnet in [Subnet.largest(space), *random_subnets(2, space)]:
        with torch.device("meta"):
            network = Network(subnet.architecture, num_classes=3, resolution=64)
        shapes = {start + name: shape for start, _, of in templates(subnet, 64, 3) for name, shape in of.items()}
        assert shapes == {
            name: tensor.shape for name, tensor in [*network.named_parameters(), *network.named_buffers()]
        }


@pytest.mark.parametrize("estimates", [True, False])
def test_scores_have_statistics_of_the_subnets_own_everywhere(supernet, estimates):
    """In the last batch norm as well, which comes after every cell."""
    x, labels = images(40), torch.arange(40) % CLASSES
    bn_batches = list(x.split(20)) if estimates else []
    oracle = SupernetAccuracy(supernet, bn_batches, [(x, labels)], ONE_LABEL)
    for subnet in [Subnet.largest(SPACE), *random_subnets(4)]:
        network = extract_network(supernet, subnet)
        with torch.no_grad():
            if estimates:
                reestimate_batch_norm(network, bn_batches)
            logits = (network if estimates else network.train())(x)
        assert oracle.score(subnet).likelihood == pytest.approx(likelihood(logits, labels), rel=1e-4)
    before = oracle.score(subnet)
    supernet.norm.running_mean.fill_(3.0)
    assert oracle.score(subnet) == before, "the ancestor's own statistics must not matter"


def test_scores_do_not_depend_on_the_networks_scored_before(supernet):
    """Blocks of other kinds and expansions at the same place share nothing that comes after them."""
    x, labels = images(40), torch.arange(40) % CLASSES
    largest = Subnet.largest(SPACE)
    subnets = [
        largest,
        largest.after(Swap(2, 0, FFN(mlp_ratio=3))),
        largest.after(Contract(2, 0, 2)),
        largest.after(Swap(2, 0, FFN(mlp_ratio=3)), Contract(2, 0, 2)),
        largest.after(Drop(2, 0)),
        largest.after(Drop(2, 1)),
        largest.after(Narrow(3, 16)),
        *random_subnets(6),
    ]
    shared = SupernetAccuracy(supernet, [x], [(x, labels)], ONE_LABEL)
    scores = [shared.score(subnet) for subnet in subnets]
    assert len(set(scores)) == len(scores)
    for subnet, score in zip(subnets, scores, strict=True):
        assert SupernetAccuracy(supernet, [x], [(x, labels)], ONE_LABEL).score(subnet) == score


def test_a_place_is_as_important_as_its_loss_costs():
    def accuracy(subnet):
        kept = [10**-stage * (1 + place) for stage, places in enumerate(subnet.origins) for place in places]
        return 50.0 + sum(kept)

    found = drop_importances(SPACE, accuracy)
    whole = accuracy(Subnet.largest(SPACE))
    assert [pytest.approx(row) for row in found] == [[1, 2], [whole], [0.01, 0.02], [0.001, 0.002]]


def test_switchable_batch_norm_has_one_set_for_every_number_of_channels():
    switchable = random_supernet(batch_norm="switchable")
    norms = {name: module.num_features for name, module in switchable.norms.items()}
    mlp = {norms[name] for name in norms if name.startswith("stages-2-blocks-1-mlp-norm1-")}
    assert mlp == {16, 32, 48, 64, 96} | {48 * 2}, "widths 16, 32 and 48 at expansions 1, 2 and 3, but for 144"
    assert {norms[name] for name in norms if name.startswith("norm-")} == {16, 32}
    assert {norms[name] for name in norms if name.startswith("stages-2-blocks-1-token_mixer-q-")} == {8, 16}
    assert not [name for name in norms if "attn-q-" in name or "attn-v_local-" in name], (
        "their heads are always as many"
    )
    assert all(name.endswith(f"-{width}") for name, width in norms.items())
    x = images()
    for subnet in random_subnets(4):
        sources = {
            switchable.source_name(name, subnet, tensor.shape): tensor.shape
            for name, tensor in Network(
                subnet.architecture, num_classes=CLASSES, resolution=RESOLUTION
            ).named_parameters()
        }
        tensors = dict(switchable.named_parameters())
        for name, shape in sources.items():
            assert "norm" not in name or tensors[name].shape == shape, f"{name} is cut"
        assert len(sources) == len(tensors.keys() & sources.keys())
        network = extract_network(switchable, subnet).train()
        assert torch.allclose(switchable.train().forward_at(subnet, x), network(x), atol=1e-5)


def test_switchable_batch_norms_of_other_widths_stay_as_they_are():
    supernet = random_supernet(batch_norm="switchable").train()
    narrow = Subnet.largest(SPACE).after(Narrow(3, 16))
    before = copy.deepcopy(supernet.state_dict())
    supernet.forward_at(narrow, images()).square().sum().backward()
    moved = {name for name, tensor in supernet.state_dict().items() if not torch.equal(tensor, before[name])}
    statistics = {name for name in moved if name.endswith("running_mean") and ("stages-3" in name or "norm-" in name)}
    assert statistics and all(name.startswith("norms.") for name in statistics)
    assert torch.equal(supernet.norm.running_mean, before["norm.running_mean"]) and supernet.norm.weight.grad is None
    assert supernet.norms["norm-32"].weight.grad.any() and supernet.norms["norm-16"].weight.grad is None
    x, labels = images(40), torch.arange(40) % CLASSES
    score = SupernetAccuracy(supernet, [x], [(x, labels)], ONE_LABEL).score
    whole, first = score(Subnet.largest(SPACE)), score(narrow)
    with torch.no_grad():
        supernet.norms["norm-32"].weight.mul_(-1)
    again = SupernetAccuracy(supernet, [x], [(x, labels)], ONE_LABEL).score
    assert again(Subnet.largest(SPACE)) == whole and again(narrow) != first


@pytest.mark.parametrize("batch_norm", ["shared", "switchable"])
def test_blocks_that_the_largest_network_does_not_have_are_held_too(batch_norm):
    """A space whose largest network attends at its last place only, with a smaller FFN before."""
    last = SPACE.stages[3]
    largest = (FFN(mlp_ratio=2), last.largest[1])
    space = replace(SPACE, stages=(*SPACE.stages[:3], replace(last, largest=largest)))
    supernet = SlimmableNetwork(space, resolution=RESOLUTION, num_classes=CLASSES, batch_norm=batch_norm).train()
    attending = Subnet(space.largest().with_stage(3, Stage(48, (last.blocks[0],))), ((0, 1), (0,), (0, 1), (0,)))
    for subnet in [Subnet.largest(space), attending, *random_subnets(6, space)]:
        assert torch.allclose(
            supernet.forward_at(subnet, images()), extract_network(supernet, subnet).train()(images()), atol=1e-5
        )
