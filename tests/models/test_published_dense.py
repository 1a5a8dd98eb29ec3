"""The published architectures as dense forms at the paper's resolutions (sections 5.2 and 5.3), and how attention bias
tables get there."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.parts import stage_grids
from efficientformer.arch.spec import MB3D, Architecture, Stage
from efficientformer.arch.zoo import ZOO
from efficientformer.models.attention_bias import gather_bias
from efficientformer.models.heads.one_stage import level_strides, points
from efficientformer.models.network import Network, at_resolution
from efficientformer.models.token_mixers import Attention

QUICK = ("efficientformer_l1", "efficientformerv2_s0")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ZOO]
FORMS = [(SemanticFpn(), (512, 512)), (OneStage(), (800, 1333))]


@pytest.mark.parametrize(("head", "size"), FORMS, ids=["512x512", "800x1333"])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_of_maps_and_outputs(name, head, size):
    """Without data: 800x1333 of L7 would take gigabytes."""
    dense = replace(ZOO[name], head=head)
    with torch.device("meta"):
        network = Network(dense, num_classes=80, resolution=size).eval()
        maps = network.forward_normed_maps(torch.empty(1, 3, *size))
        outputs = network.get_classifier()(maps, size)
    grids = stage_grids(dense.stem_strides, size)
    assert [tuple(x.shape) for x in maps] == [(1, w, *grid) for w, grid in zip(dense.widths, grids, strict=True)]
    num_cells = len(points(size, level_strides(dense)))
    assert outputs.shape == ((1, 80, *size) if head == SemanticFpn() else (1, num_cells, 85))


def narrow(architecture: Architecture) -> Architecture:
    """With all its blocks, at a width of 8 channels and one head."""

    def small(block):
        options = {"num_heads": 1, "key_dim": 4, "value_ratio": 1} if hasattr(block, "num_heads") else {}
        return replace(block, mlp_ratio=1, **options)

    return replace(architecture, stages=tuple(Stage(8, tuple(map(small, s.blocks))) for s in architecture.stages))


@pytest.mark.parametrize("name", ZOO)
def test_gradients_are_finite_at_sizes_that_halve_unevenly(name):
    for head in (SemanticFpn(8, 8), OneStage(8, 8, 1)):
        network = Network(replace(narrow(ZOO[name]), head=head), num_classes=3, resolution=(96, 84))
        network(torch.randn(2, 3, 96, 84)).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def reference_bias(attention: Attention, grid: tuple[int, int]) -> torch.Tensor:
    """The rule of the authors' dense backbones: the table of the target grid is gathered for all its pairs of tokens,
    and the matrix is resized to the pairs of the actual grid, bicubically."""
    bias_1hNN = gather_bias(attention.attention_bias, attention.offset_index)[None]
    num_tokens = grid[0] * grid[1]
    return nn.functional.interpolate(bias_1hNN, size=(num_tokens, num_tokens), mode="bicubic")[0]


@pytest.mark.parametrize("target", [16, 25])
def test_on_the_target_grid_the_bias_is_that_of_the_reference(target):
    """512 pixels are 16 tokens a side and 800 are 25. Ours resizes the table of the weights to that grid, once; the
    reference starts with a new table there. From then on both gather the same bias."""
    attention = Attention(8, MB3D(num_heads=2, key_dim=4, value_ratio=1), (7, 7))
    nn.init.normal_(attention.attention_bias)
    self_bias = attention.attention_bias[:, 0].clone()
    attention.resize((target, target))
    assert torch.equal(attention.attention_bias[:, 0], self_bias)
    torch.testing.assert_close(attention.bias((target, target)), reference_bias(attention, (target, target)))


def test_on_other_grids_a_table_that_just_started_gives_what_the_reference_does():
    """A new table is zero, and so is every resizing of it, as is a constant's. Of a trained one ours resizes distances,
    which stay distances; the reference resizes the matrix of token pairs in row-major order, which mixes the ends of
    rows with the starts of the next."""
    attention = Attention(8, MB3D(num_heads=2, key_dim=4, value_ratio=1), (5, 5))
    for value in (0.0, 0.7):
        nn.init.constant_(attention.attention_bias, value)
        torch.testing.assert_close(attention.bias((5, 8)), reference_bias(attention, (5, 8)))
    nn.init.normal_(attention.attention_bias)
    ours_hNN, theirs_hNN = attention.bias((5, 8)), reference_bias(attention, (5, 8))
    tokens = torch.arange(40)
    assert torch.equal(ours_hNN[:, tokens, tokens], attention.attention_bias[:, :1].expand(-1, 40))
    assert (theirs_hNN[:, tokens, tokens] - attention.attention_bias[:, :1]).abs().max() > 0.01


def test_set_resolution_resizes_the_tables_of_a_dense_network():
    dense = replace(narrow(ZOO["efficientformer_l1"]), head=SemanticFpn(8, 8))
    network = Network(dense, num_classes=3, resolution=224)
    tables = [module for module in at_resolution(network, (512, 800)).modules() if isinstance(module, Attention)]
    assert [table.grid for table in tables] == [(16, 25)] and tables[0].attention_bias.shape == (1, 400)
