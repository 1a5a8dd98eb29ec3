import torch
from torch import nn

from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.models.metablocks import MB3DBlock, MB4DBlock


def test_mb4d_equations(randomize):
    block = randomize(MB4DBlock(8, MB4D(3))).eval()
    x = torch.randn(2, 8, 5, 7)
    pooled = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    middle = x + block.layer_scale_1.view(8, 1, 1) * (pooled - x)
    mlp = block.mlp
    hidden = nn.functional.gelu(mlp.norm1(nn.functional.conv2d(middle, mlp.fc1.weight, mlp.fc1.bias)))
    expected = middle + block.layer_scale_2.view(8, 1, 1) * mlp.norm2(mlp.fc2(hidden))
    assert hidden.shape[1] == 24
    torch.testing.assert_close(block(x), expected)


def test_mb3d_equations(randomize):
    block = randomize(MB3DBlock(8, MB3D(3, 2, 4, 2), (2, 3))).eval()
    x = torch.randn(2, 6, 8)
    middle = x + block.layer_scale_1 * block.token_mixer(block.norm1(x))
    hidden = nn.functional.gelu(block.mlp.fc1(block.norm2(middle)))
    assert hidden.shape[2] == 24
    torch.testing.assert_close(block(x), middle + block.layer_scale_2 * block.mlp.fc2(hidden))
    assert block(torch.randn(2, 20, 8), (5, 4)).shape == (2, 20, 8)


def test_layer_scale_zero_is_identity():
    for block, x in (
        (MB4DBlock(8, MB4D(), layer_scale_init=0.0), torch.randn(2, 8, 3, 4)),
        (MB3DBlock(8, MB3D(), (3, 4), layer_scale_init=0.0), torch.randn(2, 12, 8)),
    ):
        assert torch.equal(block(x), x)


def test_both_branches_can_be_dropped(randomize):
    block = randomize(MB4DBlock(8, MB4D(), drop_path=0.5)).train()
    x = torch.randn(64, 8, 2, 2)
    changed = (block(x) != x).flatten(1).any(1)
    assert 0.4 < changed.float().mean() < 0.99
