"""A supernet whose channels are sorted by importance: the same at full width, better when it is narrowed."""

import copy
import random
from dataclasses import replace

import pytest
import torch

from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D, Stage
from efficientformer.errors import UsageError
from efficientformer.search.scoring.accuracy import SupernetAccuracy, extract_network
from efficientformer.search.scoring.channels import sort_ancestor
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.mixing import Mixing
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.tasks.classification.kind import ONE_LABEL
from tests.search import slimmable
from tests.search.slimmable import images, random_subnets, random_supernet

MIXER = MB3D(key_dim=8, value_ratio=2)
V1_SPACE = v1_space("tiny", (32, 32, 48, 48), (2, 1, 2, 2), 3, stem_strides=(2, 1), mb3d=MIXER, heads=(4, 3, 1))


def metapaths():
    torch.manual_seed(0)
    supernet = Supernet(V1_SPACE, resolution=slimmable.RESOLUTION, num_classes=5, layer_scale_init=0.5)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return supernet


@pytest.fixture(params=[metapaths, random_supernet], ids=["metapaths", "slimmable"])
def supernet(request):
    """In evaluation mode, with batch norm statistics of its own."""
    made = request.param()
    generator = torch.Generator().manual_seed(1)
    for name, buffer in made.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + ("var" in name))
    return made.eval()


def at_full_width(space, subnet: Subnet) -> Subnet:
    """The subnet with the largest width in every stage, the largest expansion and the most heads in every block."""
    stages = []
    for most, stage in zip(space.stages, subnet.architecture.stages, strict=True):
        largest = {block.kind: block for block in most.blocks}
        stages.append(Stage(most.max_width, tuple(largest[block.kind] for block in stage.blocks)))
    return Subnet(space.network(stages), subnet.origins)


def labeled(count=6):
    return images(count), torch.arange(count) % slimmable.CLASSES


@torch.no_grad()
def outputs(supernet, subnets):
    return [extract_network(supernet, subnet).eval()(images()) for subnet in subnets]


def difference(before, after) -> float:
    """Relative to the size of the outputs, where that is above 1."""
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in zip(after, before, strict=True))


def test_before_anything_is_narrowed_every_subnet_computes_the_same(supernet):
    """The largest, and others of any depth, places and kinds."""
    drawn = [at_full_width(supernet.space, subnet) for subnet in random_subnets(12, supernet.space)]
    subnets = [Subnet.largest(supernet.space), *supernet.widest(), *drawn]
    before, weights = outputs(supernet, subnets), copy.deepcopy(supernet.state_dict())
    sort_ancestor(supernet, [labeled()], ONE_LABEL)
    assert difference(before, outputs(supernet, subnets)) <= 1e-5
    same = [name for name, tensor in supernet.state_dict().items() if torch.equal(tensor, weights[name])]
    kept = ("num_batches_tracked", "alpha", "head.bias")
    assert not [name for name in same if not (name.endswith(kept) or "downsample.attn." in name)]


@torch.no_grad()
def test_the_mix_of_all_paths_computes_the_same():
    supernet, mixing = metapaths().eval(), Mixing(temperature=1.0, noise="none")
    before = supernet(images(), mixing)
    sort_ancestor(supernet, [labeled()], ONE_LABEL)
    assert difference([before], [supernet(images(), mixing)]) <= 1e-5


def test_every_path_is_in_one_of_the_widest_networks():
    """Also an MB3D where the largest network of the space has an MB4D."""
    supernet = metapaths()
    kinds = [[block.kind for block in subnet.architecture.stages[2].blocks] for subnet in supernet.widest()]
    assert kinds == [["MB3D", "MB3D"], ["MB4D", "MB4D"]]
    assert [block.kind for block in V1_SPACE.largest().stages[2].blocks] == ["MB4D", "MB3D"]


@torch.no_grad()
def silence_first_half(supernet) -> None:
    """The first half of the channels of every stage, of every MLP on maps and of the stem is zero for any image."""
    torch.manual_seed(2)
    for subnet in supernet.widest():
        for name, tensor in extract_network(supernet, subnet).named_parameters():
            tensor = supernet.state_dict()[supernet.source_name(name, subnet, tensor.shape)]
            half = len(tensor) // 2
            if name.startswith("head.weight"):
                tensor[:, : tensor.shape[1] // 2] = 0
            elif any(part in name for part in ("stem.norm", "downsample.norm", "proj.norm", "mlp.norm1", "mid_norm")):
                tensor[:half], tensor[half:] = 0, 1 + 0.5 * torch.rand_like(tensor[half:])
            elif "layer_scale" in name:
                tensor[:half], tensor[half:] = 0, 0.3 * torch.randn_like(tensor[half:])


def test_a_narrowed_network_scores_better_where_the_last_channels_matter(supernet):
    """The labels are the answers of the largest network."""
    silence_first_half(supernet)
    x = torch.randn(96, 3, slimmable.RESOLUTION, slimmable.RESOLUTION, generator=torch.Generator().manual_seed(5))
    largest, widths = Subnet.largest(supernet.space), (16, 16, 32, 32)
    stages = zip(widths, largest.architecture.stages, strict=True)
    narrow = Subnet(supernet.space.network(Stage(width, stage.blocks) for width, stage in stages), largest.origins)
    with torch.no_grad():
        supernet.head.bias -= extract_network(supernet, largest).train()(x).mean(dim=0)  # else most are of one class
        labels = extract_network(supernet, largest).train()(x).argmax(dim=1)
    assert labels.bincount().max() < 48
    first = SupernetAccuracy(supernet, [], [(x, labels)], ONE_LABEL).score(narrow)
    sort_ancestor(supernet, [(x, labels)], ONE_LABEL)
    important = SupernetAccuracy(supernet, [], [(x, labels)], ONE_LABEL).score(narrow)
    assert important.primary > 1.5 * first.primary and important.likelihood > 1.2 * first.likelihood
    if supernet.space.is_v2:
        assert important.primary == 100, "nothing but silent channels was cut"


def test_sorting_twice_changes_nothing_more(supernet):
    sort_ancestor(supernet, [labeled(16)], ONE_LABEL)
    once = copy.deepcopy(supernet.state_dict())
    sort_ancestor(supernet, [labeled(16)], ONE_LABEL)
    moved = [name for name, tensor in supernet.state_dict().items() if not torch.equal(tensor, once[name])]
    # Activations measured in another order round differently: of nearly equal channels a few may change places.
    assert len(moved) < 0.1 * len(once)


def test_sorting_is_reproducible_and_needs_images(supernet):
    again = copy.deepcopy(supernet)
    for one in (supernet, again):
        sort_ancestor(one, [labeled(4), labeled(5)], ONE_LABEL)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in supernet.state_dict().items())
    with pytest.raises(UsageError, match="there are none"):
        sort_ancestor(supernet, [], ONE_LABEL)


def test_a_space_whose_tokens_are_out_of_reach_is_sorted():
    """Stage 3 could have MB3D, but stage 4 has none, so no network has any."""
    top = V1_SPACE.stages[2]
    stages = [*V1_SPACE.stages[:2], replace(top, largest=(top.blocks[1],) * 2)]
    stages.append(replace(V1_SPACE.stages[3], blocks=top.blocks[1:], largest=(top.blocks[1],) * 2, heads=()))
    space = replace(V1_SPACE, stages=tuple(stages))
    torch.manual_seed(0)
    supernet = Supernet(space, resolution=slimmable.RESOLUTION, num_classes=5).eval()
    subnets = [Subnet.largest(space), at_full_width(space, Subnet.random(space, random.Random(1)))]
    before = outputs(supernet, subnets)
    sort_ancestor(supernet, [labeled()], ONE_LABEL)
    assert difference(before, outputs(supernet, subnets)) <= 1e-5
