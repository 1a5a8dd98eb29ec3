"""Channels and heads in another order: the same network, whose first channels and heads are others.

Both are cut from the end, so their order decides what a narrower network keeps. All blocks of a stage add to one
residual stream, whose channels take one permutation together; every hidden layer and every attention takes one of its
own. All are exact.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from efficientformer.arch.spec import num_heads_of
from efficientformer.errors import UsageError
from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.embed import Stem
from efficientformer.models.map_attention import AttentionDownsample, MapAttention
from efficientformer.models.network import Network
from efficientformer.models.token_mixers import Attention

Axis = tuple[str, Tensor, int]
"""What a permutation reorders: a name, a tensor, and the axis of its channels. Of a head it has a run of channels."""
Order = Sequence[int] | Tensor
"""Of every new position the channel or head that comes there, each once."""


def permute_stage(network: Network, stage: int, order: Order) -> None:
    """Reorder the channels of a stage, counted from 0, in place. The network computes the same.

    Raises UsageError for an order that is no permutation of the channels, and for a deploy form.
    """
    _permute(stage_axes(network, stage), order, network.architecture.widths[stage])


def permute_hidden(network: Network, stage: int, block: int, order: Order) -> None:
    """Reorder the hidden channels of a block's MLP in place. The network computes the same. Raises as
    `permute_stage`."""
    _require_trainable(network)
    architecture = network.architecture.stages[stage]
    width = architecture.width * architecture.blocks[block].mlp_ratio
    _permute(hidden_axes(network.stages[stage].blocks[block].mlp), order, width)  # type: ignore[union-attr, index]


def permute_heads(network: Network, stage: int, block: int, order: Order) -> None:
    """Reorder the heads of a block's attention in place. The network computes the same. Raises as `permute_stage`, also
    for any order of a block without attention."""
    _require_trainable(network)
    mixer = getattr(network.stages[stage].blocks[block], "token_mixer", None)  # type: ignore[union-attr, index]
    axes = heads_axes(mixer) if isinstance(mixer, BiasedAttention) else []
    _permute(axes, order, num_heads_of(network.architecture.stages[stage].blocks[block]))


def permute_stem(network: Network, order: Order, *, is_first: bool = False) -> None:
    """Reorder the channels before the stem's last convolution in place, or with `is_first` those after the first of
    three. The network computes the same. Raises as `permute_stage`."""
    _require_trainable(network)
    conv1 = network.stem.conv1
    _permute(stem_axes(network.stem, is_first=is_first), order, conv1.in_channels if is_first else conv1.out_channels)


def stage_axes(network: Network, stage: int) -> list[Axis]:
    """What has the channels of a stage. Raises UsageError for a deploy form."""
    _require_trainable(network)
    entry = network.stages[stage].downsample if stage else network.stem
    return [*_backbone_axes(network, stage, entry), *_dense_axes(network, stage)]  # type: ignore[arg-type]


def _backbone_axes(network: Network, stage: int, entry: nn.Module) -> list[Axis]:
    if stage + 1 < len(network.stages):
        return residual_axes(entry, network.stages[stage].blocks, network.stages[stage + 1].downsample)  # type: ignore[arg-type]
    heads = [head for head in (network.head, network.head_dist) if isinstance(head, nn.Linear)]
    return residual_axes(entry, network.stages[stage].blocks, network.norm, heads)  # type: ignore[arg-type]


def _dense_axes(network: Network, stage: int) -> Iterator[Axis]:
    """Of a dense head: the norm of the stage's map and the convolution that reads it."""
    head = network.architecture.head
    if network.output_norms is not None and head is not None and stage >= head.first_stage:
        yield from _out("output_norm", network.output_norms[stage])
        yield from _in("lateral", network.head.fpn.laterals[stage - head.first_stage])  # type: ignore[union-attr, index, arg-type]


def residual_axes(
    entry: nn.Module, blocks: Iterable[nn.Module], following: nn.Module, heads: Iterable[nn.Linear] = ()
) -> list[Axis]:
    """What has the channels of one residual stream.

    entry: the stem or downsample that the stream comes from.
    blocks: every block that adds to it; in a supernet, every candidate of every place.
    following: the downsample that reads it, or after the last stage the norm.
    heads: the linear layers behind that norm.
    """
    return [
        *_written_by("entry", entry),
        *(axis for index, block in enumerate(blocks) for axis in _of_block(f"blocks.{index}", block)),
        *(_read_by("following", following) if hasattr(following, "conv") else _out("following", following)),
        *(axis for index, head in enumerate(heads) for axis in _in(f"heads.{index}", head)),
    ]


def hidden_axes(mlp: nn.Module) -> list[Axis]:
    """What has the hidden channels of an MLP."""
    inner = [name for name in ("fc1", "norm1", "mid", "mid_norm") if hasattr(mlp, name)]
    return [*(axis for name in inner for axis in _out(name, getattr(mlp, name))), *_in("fc2", mlp.fc2)]  # type: ignore[arg-type]


def heads_axes(attention: BiasedAttention) -> list[Axis]:
    """What has the heads of an attention: each is a run of channels, in `qkv` its query, key and value."""
    axes: list[Axis] = [("attention_bias", attention.attention_bias, 0)]
    if isinstance(attention, Attention):
        return [*axes, *_out("qkv", attention.qkv), *_in("proj", attention.proj)]
    assert isinstance(attention, MapAttention)
    for name in ("q", "k", "v", "v_local"):
        axes += _conv_norm_out(name, getattr(attention, name))
    for name in ("talking_head1", "talking_head2"):
        axes += [*_out(name, getattr(attention, name)), *_in(name, getattr(attention, name))]
    return [*axes, *_in("proj.conv", attention.proj.conv)]


def stem_axes(stem: Stem, *, is_first: bool = False) -> list[Axis]:
    """What has the channels before the stem's last convolution, or with `is_first` those after the first of three."""
    if is_first:
        assert stem.first is not None
        return [*_conv_norm_out("first", stem.first), *_in("conv1", stem.conv1)]
    return [*_out("conv1", stem.conv1), *_out("norm1", stem.norm1), *_in("conv2", stem.conv2)]


def _written_by(name: str, entry: nn.Module) -> Iterator[Axis]:
    if isinstance(entry, Stem):
        yield from _out(f"{name}.conv2", entry.conv2)
        yield from _out(f"{name}.norm2", entry.norm2)
        return
    yield from _out(f"{name}.conv", entry.conv)  # type: ignore[arg-type]
    yield from _out(f"{name}.norm", entry.norm)  # type: ignore[arg-type]
    if isinstance(entry, AttentionDownsample):
        yield from _conv_norm_out(f"{name}.attn.proj", entry.attn.proj)


def _read_by(name: str, downsample: nn.Module) -> Iterator[Axis]:
    yield from _in(f"{name}.conv", downsample.conv)  # type: ignore[arg-type]
    if isinstance(downsample, AttentionDownsample):
        yield from _out(f"{name}.attn.q_local", downsample.attn.q_local)  # depth-wise
        for part in ("q", "k", "v"):
            yield from _in(f"{name}.attn.{part}", getattr(downsample.attn, part).conv)


def _of_block(name: str, block: nn.Module) -> Iterator[Axis]:
    mlp, mixer = block.mlp, getattr(block, "token_mixer", None)
    yield from _in(f"{name}.mlp.fc1", mlp.fc1)  # type: ignore[union-attr, arg-type]
    yield from _out(f"{name}.mlp.fc2", mlp.fc2)  # type: ignore[union-attr, arg-type]
    if hasattr(mlp, "norm2"):
        yield from _out(f"{name}.mlp.norm2", mlp.norm2)  # type: ignore[union-attr, arg-type]
    for part in ("layer_scale_1", "layer_scale_2"):
        if hasattr(block, part):
            yield f"{name}.{part}", getattr(block, part), 0
    for part in ("norm1", "norm2"):
        if hasattr(block, part):
            yield from _out(f"{name}.{part}", getattr(block, part))
    if isinstance(mixer, Attention):
        yield from _in(f"{name}.token_mixer.qkv", mixer.qkv)
        yield from _out(f"{name}.token_mixer.proj", mixer.proj)
    if isinstance(mixer, MapAttention):
        if mixer.stride > 1:
            yield from _conv_norm_out(f"{name}.token_mixer.stride_conv", mixer.stride_conv)  # depth-wise
        for part in ("q", "k", "v"):
            yield from _in(f"{name}.token_mixer.{part}", getattr(mixer, part).conv)
        yield from _conv_norm_out(f"{name}.token_mixer.proj", mixer.proj)


def _conv_norm_out(name: str, module: nn.Module) -> Iterator[Axis]:
    yield from _out(f"{name}.conv", module.conv)  # type: ignore[arg-type]
    yield from _out(f"{name}.norm", module.norm)  # type: ignore[arg-type]


def _out(name: str, module: nn.Module) -> Iterator[Axis]:
    """The output channels of a layer; of a norm or a depth-wise convolution its only channels."""
    for part in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(module, part, None)
        if tensor is not None:
            yield f"{name}.{part}", tensor, 0


def _in(name: str, module: nn.Module) -> Iterator[Axis]:
    yield f"{name}.weight", module.weight, 1  # type: ignore[misc]


@torch.no_grad()
def _permute(axes: Iterable[Axis], order: Order, width: int) -> None:
    index = torch.as_tensor(order)
    if index.shape != (width,) or sorted(index.tolist()) != list(range(width)):
        raise UsageError(f"An order of these channels has each number from 0 to {width - 1} once.")
    # A tensor that several blocks share is reordered once.
    for tensor, axis in {(id(tensor), axis): (tensor, axis) for _, tensor, axis in axes}.values():
        run = tensor.shape[axis] // width
        moved = (index[:, None] * run + torch.arange(run)).flatten()
        tensor.copy_(tensor.index_select(axis, moved.to(tensor.device)))


def _require_trainable(network: Network) -> None:
    if isinstance(network.stem.norm1, nn.Identity):
        raise UsageError("The channels of a deploy form cannot be reordered: reorder the network, then fuse it.")
