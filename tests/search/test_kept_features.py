import random
from collections import Counter

import pytest
import torch
from torch import nn

from efficientformer.arch.moves import Drop, Narrow
from efficientformer.arch.spaces import SPACES, v1_space
from efficientformer.arch.spec import MB3D
from efficientformer.models.create import create_model
from efficientformer.models.embed import Stem
from efficientformer.models.metablocks import MB3DBlock, MB4DBlock
from efficientformer.search.scoring.accuracy import SupernetAccuracy
from efficientformer.search.scoring.kept_features import Features, KeptFeatures, cell_modules, cells_of
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.tasks.classification.kind import ONE_LABEL
from tests.search.by_hand import swap_first

SPACE = v1_space(
    "tiny", (32, 32, 48, 48), (2, 1, 2, 2), 4, stem_strides=(2, 1), mb3d=MB3D(num_heads=2, key_dim=8, value_ratio=2)
)


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(SPACE, resolution=16, num_classes=5, layer_scale_init=0.5)


@pytest.fixture
def ran(monkeypatch):
    """How many batches went through the stem, through each MB4D and through each MB3D."""
    seen = Counter()
    for part in (Stem, MB4DBlock, MB3DBlock):

        def counted(self, *inputs, do=part.forward):
            seen[type(self)] += 1
            return do(self, *inputs)

        monkeypatch.setattr(part, "forward", counted)
    return seen


def test_subnets_that_begin_alike_share_what_leaves_their_first_cells(supernet, ran):
    torch.manual_seed(0)
    images, labels = torch.randn(48, 3, 16, 16), torch.randint(5, (48,))
    held_out = list(zip(images.split(16), labels.split(16), strict=True))
    oracle = SupernetAccuracy(supernet, list(images.split(24)), held_out, ONE_LABEL)
    largest = Subnet.largest(SPACE)
    later = swap_first(largest, SPACE)
    assert [stage.num_on_tokens for stage in largest.architecture.stages] == [0, 0, 2, 2]
    batches, seen = 5, {}
    for subnet, stems, mb4d, mb3d in (
        (largest, 1, 3, 4),
        (largest.after(Narrow(3, 16)), 0, 0, 2),
        (later, 0, 1, 3),
        (swap_first(later, SPACE), 0, 1, 2),
        (largest.after(Drop(3, 1)), 0, 0, 1),
        (largest.after(Drop(0, 1)), 0, 1, 4),
        (largest.after(Narrow(0, 16)), 1, 3, 4),
    ):
        ran.clear()
        seen[subnet] = oracle(subnet)
        assert ran == Counter({Stem: batches * stems, MB4DBlock: batches * mb4d, MB3DBlock: batches * mb3d})
    for subnet, top1 in seen.items():
        assert SupernetAccuracy(supernet, list(images.split(24)), held_out, ONE_LABEL)(subnet) == top1


@pytest.mark.parametrize("stage_index", [0, 2, 3], ids=["maps", "maps and tokens", "tokens"])
def test_blocks_of_other_metapaths_share_nothing(supernet, stage_index):
    """Two subnets of one architecture, made of other blocks: each has the score that it has alone."""
    torch.manual_seed(0)
    images, labels = torch.randn(64, 3, 16, 16), torch.randint(5, (64,))
    held_out = list(zip(images.split(32), labels.split(32), strict=True))
    subnets = [Subnet.largest(SPACE).after(Drop(stage_index, block)) for block in (0, 1)]
    # A later change, so that features behind the stage are looked up.
    subnets = [subnet.after(Narrow(3, 16)) if stage_index < 3 else subnet for subnet in subnets]
    assert subnets[0].architecture == subnets[1].architecture and subnets[0].origins != subnets[1].origins
    alone = [SupernetAccuracy(supernet, [], held_out, ONE_LABEL)(subnet) for subnet in subnets]
    assert alone[0] != alone[1]
    together = SupernetAccuracy(supernet, [], held_out, ONE_LABEL)
    assert [together(subnet) for subnet in subnets] == alone


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
def test_a_network_is_its_cells_one_after_the_other(space):
    rng = random.Random(0)
    for _ in range(5):
        subnet = Subnet.random(space, rng)
        network = create_model(subnet.architecture, num_classes=5, resolution=64).eval()
        modules = cell_modules(network)
        x_BCHW = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            x = nn.Sequential(*modules)(x_BCHW)
            assert torch.equal(network.norm(x), network.forward_features(x_BCHW))
        assert len(modules) == len(cells_of(subnet))
        names = [name for module in modules for name, _ in module.named_parameters()]
        assert len(names) == len(list(network.stem.parameters())) + len(list(network.stages.parameters()))


def test_features_are_kept_as_far_as_they_fit(supernet):
    features = Features([torch.zeros(2, 4, 8, 8)], [torch.zeros(3, 4, 8, 8)])
    assert (features.num_images, features.num_bytes) == (5, 5 * 4 * 64 * 4)
    fits_two = KeptFeatures(supernet, 0, max_bytes=2 * features.num_bytes)
    subnet = Subnet.largest(SPACE)
    first, second, third = map(cells_of, (subnet, subnet.after(Narrow(0, 16)), subnet.after(Narrow(1, 16))))
    deepest = fits_two.places(first)[-1]
    for cells in (first, second):
        fits_two.add(cells, {deepest: features})
    assert fits_two.deepest(first) == (deepest, features)
    fits_two.add(third, {deepest: features})
    assert fits_two.deepest(second) is None and fits_two.deepest(first) and fits_two.deepest(third)
    assert KeptFeatures(supernet, 10**9).places(first) == []


def test_what_more_subnets_begin_with_is_kept_longest(supernet):
    features = Features([torch.zeros(5, 4, 8, 8)], [])
    kept = KeptFeatures(supernet, 0, max_bytes=3 * features.num_bytes)
    subnet = Subnet.largest(SPACE)
    first, second, other = map(cells_of, (subnet, subnet.after(Narrow(3, 16)), subnet.after(Narrow(0, 16))))
    shallow, *_, deep = kept.places(first)
    kept.add(first, {shallow: features, deep: features})
    kept.add(other, {shallow: features, deep: features})
    assert kept.deepest(first) == (shallow, features)
    assert kept.deepest(second) == (shallow, features)
