import pytest
import torch

from efficientformer.analysis.observations import variants
from efficientformer.arch.cost import network_cost
from efficientformer.arch.parts import stage_grids
from efficientformer.arch.zoo import L1
from efficientformer.models.deploy.fuse import DeployMB3D
from efficientformer.models.stage import Stage

RESOLUTION = 64
IMAGES = torch.randn(1, 3, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(0))
GRIDS = stage_grids((2, 2), RESOLUTION)


def published() -> torch.nn.Module:
    torch.manual_seed(0)
    return variants.whole_network(L1, RESOLUTION)


def difference(network: torch.nn.Module, other: torch.nn.Module) -> float:
    with torch.no_grad():
        return float((network.eval()(IMAGES) - other.eval()(IMAGES)).abs().max())


def test_a_network_whose_activation_is_exchanged_for_its_own_is_unchanged():
    assert difference(variants.with_activation(published(), "GELU"), published()) == 0


@pytest.mark.parametrize("activation", ["ReLU", "HardSwish", "SiLU", "tanh-GELU"])
def test_another_activation_reaches_every_block(activation):
    network = variants.with_activation(published(), activation)
    kind = type(variants.ACTIVATIONS[activation]())
    assert sum(isinstance(module, kind) for module in network.modules()) == sum(L1.depths)
    assert difference(network, published()) > 0


@pytest.mark.parametrize("norm", list(variants.NORMS))
def test_another_norm_stands_behind_both_convolutions_of_every_mb4d(norm):
    network = variants.with_map_norm(published(), norm)
    kind = type(variants.NORMS[norm](8))
    assert sum(isinstance(module, kind) for module in network.modules()) == 2 * (sum(L1.depths) - L1.num_on_tokens)
    assert difference(network, published()) > 0


@pytest.mark.parametrize(("kernel", "stride", "num_convolutions"), [(16, 16, 4), (7, 4, 2), (4, 4, 2)])
def test_embedding_and_stem_have_the_same_output_shape(kernel, stride, num_convolutions):
    images = torch.zeros(1, 3, 224, 224)
    embedding, stem = variants.patch_embedding(64, kernel, stride), variants.convolution_stem(64, num_convolutions)
    assert embedding(images).shape == stem(images).shape == (1, 64, 224 // stride, 224 // stride)


def test_a_network_runs_behind_another_stem():
    network = variants.with_stem(published(), variants.patch_embedding(L1.widths[0], 7, 4)).eval()
    assert network(IMAGES).shape == (1, variants.NUM_CLASSES)


@pytest.mark.parametrize("indices", [(3,), (2, 3)])
def test_alternating_and_grouped_stages_differ_in_the_number_of_reshapes_only(indices, monkeypatch):
    built = [
        variants.with_mixed_stages(published(), L1, GRIDS, indices, alternating=alternating).eval()
        for alternating in (True, False)
    ]
    macs = [variants.count_macs(network, tuple(IMAGES.shape)) for network in built]
    kinds = [sorted(type(module).__name__ for module in network.modules()) for network in built]
    assert macs[0] == macs[1] and kinds[0] == kinds[1]
    reshapes = []
    for name in ("flatten", "unflatten"):
        reshape = getattr(variants, name)
        monkeypatch.setattr(variants, name, lambda *args, do=reshape: reshapes.append(do) or do(*args))
    num_reshapes = []
    for network in built:
        reshapes.clear()
        assert network(IMAGES).shape == (1, variants.NUM_CLASSES)
        num_reshapes.append(len(reshapes))
    # The last stage ends in tokens; the one before it returns to maps.
    assert num_reshapes[0] == sum(L1.depths[index] - (index == 3) for index in indices)
    assert num_reshapes[1] == sum(1 if index == 3 else 2 for index in indices)


def test_a_mixed_stage_with_one_boundary_is_the_stage_of_the_network():
    network, same = published(), published()
    stage = same.get_submodule("stages.3")
    assert isinstance(stage, Stage)
    mixed = variants.MixedStage(stage.downsample, stage.blocks, GRIDS[3], ends_in_tokens=True)
    same.set_submodule("stages.3", mixed)
    assert difference(same, network) == 0


def test_halves_of_a_block_make_the_block():
    block = variants.token_block(64, (4, 4)).eval()
    x_BNC = torch.randn(1, 16, 64)
    halves = torch.nn.Sequential(variants.TokenMixing(block), variants.TokenMlp(block)).eval()
    assert isinstance(block, DeployMB3D) and torch.equal(halves(x_BNC), block(x_BNC))


def test_macs_are_those_of_the_architecture():
    macs = variants.count_macs(published().eval(), tuple(IMAGES.shape))
    assert macs == network_cost(L1, RESOLUTION, variants.NUM_CLASSES).macs
