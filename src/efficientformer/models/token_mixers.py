"""Token mixers: pooling on maps, attention with a learned bias on tokens (paper, section 4.1)."""

from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import MB3D
from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.initialization import init_projection


class Pooling(nn.Module):
    """The mean of the 3x3 neighbors inside the map, minus the map itself: the block adds it back."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return average_neighbors(x_BCHW) - x_BCHW


def average_neighbors(x_BCHW: Tensor) -> Tensor:
    # Padding does not count: a constant map stays constant.
    return nn.functional.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


class Attention(BiasedAttention):
    """Multi-head self-attention whose scores carry a learned bias. `x_BNC` must hold one token per cell of the grid."""

    def __init__(self, width: int, block: MB3D, grid: Grid) -> None:
        super().__init__(block.num_heads, grid)
        self.head_dims = [block.key_dim, block.key_dim, block.value_dim]
        self.scale = block.key_dim**-0.5
        self.qkv = init_projection(nn.Linear(width, block.num_heads * sum(self.head_dims)))
        self.proj = init_projection(nn.Linear(block.num_heads * block.value_dim, width))

    def forward(self, x_BNC: Tensor, grid: Grid | None = None) -> Tensor:
        q_BhND, k_BhND, v_BhND = split_heads(self.qkv(x_BNC), self.num_heads, self.head_dims)
        return self.proj(attend(q_BhND * self.scale, k_BhND, v_BhND, self.bias(self.grid if grid is None else grid)))


def split_heads(qkv_BNC: Tensor, num_heads: int, head_dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B, h, N, D) out of one projection, whose channels run head by head."""
    num_tokens = int(qkv_BNC.shape[1])
    q_BhND, k_BhND, v_BhND = (
        qkv_BNC.reshape(-1, num_tokens, num_heads, sum(head_dims)).transpose(1, 2).split(head_dims, dim=3)
    )
    return q_BhND, k_BhND, v_BhND


def attend(q_BhND: Tensor, k_BhND: Tensor, v_BhND: Tensor, bias_hNN: Tensor) -> Tensor:
    """softmax(q k + bias) v, with heads concatenated: (B, N, h * D)."""
    scores_BhNN = q_BhND @ k_BhND.transpose(2, 3) + bias_hNN
    channels = int(v_BhND.shape[1]) * int(v_BhND.shape[3])
    return (scores_BhNN.softmax(dim=3) @ v_BhND).transpose(1, 2).reshape(-1, int(q_BhND.shape[2]), channels)
