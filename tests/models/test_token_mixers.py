import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from efficientformer.arch.spec import MB3D
from efficientformer.models.attention_bias import offset_index, resize_attention_bias
from efficientformer.models.token_mixers import Attention, Pooling

GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))


def test_pooling_averages_the_neighbors_inside_the_map():
    x = torch.randn(1, 2, 4, 5)
    mixed = Pooling()(x)
    for row in range(4):
        for column in range(5):
            window = x[:, :, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            torch.testing.assert_close(mixed[:, :, row, column], window.mean((2, 3)) - x[:, :, row, column])
    assert Pooling()(torch.full((1, 1, 3, 3), 7.0)).abs().max() == 0


def test_offset_index_counts_distances():
    assert offset_index((2, 3)).tolist()[0] == [0, 1, 2, 3, 4, 5]
    assert offset_index((2, 3)).tolist()[4] == [4, 3, 4, 1, 0, 1]


@given(GRIDS, GRIDS)
def test_resized_table_keeps_its_corners(grid, new_grid):
    table = torch.randn(2, grid[0] * grid[1])
    corners = resize_attention_bias(table, grid, new_grid).view(2, *new_grid)
    assert torch.equal(corners[:, 0, 0], table[:, 0])
    if min(new_grid) > 1:
        torch.testing.assert_close(corners[:, -1, -1], table[:, -1])
    assert torch.equal(resize_attention_bias(table, grid, grid), table)


def test_resized_table_follows_a_linear_one():
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 4), torch.linspace(0, 1, 3), indexing="ij")
    table = (rows + 10 * columns).flatten()[None]
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 6), torch.linspace(0, 1, 8), indexing="ij")
    torch.testing.assert_close(resize_attention_bias(table, (4, 3), (6, 8)), (rows + 10 * columns).flatten()[None])


@pytest.mark.parametrize("grid", [(2, 3), (3, 2), (1, 4)])
def test_attention_token_by_token(grid):
    """Against the definition, one head, one query and one key at a time."""
    block = MB3D(num_heads=2, key_dim=4, value_ratio=3)
    attention = Attention(8, block, grid).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, grid[0] * grid[1], 8, dtype=torch.float64)
    cells = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    projected = attention.qkv(x)[0]
    mixed = torch.zeros(len(cells), 2, 12, dtype=torch.float64)
    for head in range(2):
        channels = projected[:, head * 20 : (head + 1) * 20]
        q, k, v = channels[:, :4], channels[:, 4:8], channels[:, 8:]
        for i, (row, column) in enumerate(cells):
            scores = torch.stack(
                [
                    q[i] @ k[j] / 4**0.5
                    + attention.attention_bias[head, abs(row - other[0]) * grid[1] + abs(column - other[1])]
                    for j, other in enumerate(cells)
                ]
            )
            mixed[i, head] = scores.softmax(0) @ v
    torch.testing.assert_close(attention(x)[0], attention.proj(mixed.flatten(1)))


def test_resize_equals_attending_on_the_other_grid():
    attention = Attention(8, MB3D(2, 2, 4, 2), (3, 4))
    torch.nn.init.normal_(attention.attention_bias)
    x = torch.randn(2, 30, 8)
    expected = attention(x, (6, 5))
    attention.resize((6, 5))
    torch.testing.assert_close(attention(x), expected)
