"""The importance of channels and heads, and a supernet whose first ones matter most.

A channel matters by the change of the loss if it was zero: to first order, the sum over its activations of activation
times gradient, as a mean of absolute values over images (Molchanov et al., 2017). In a stage all that is written into
the channel counts together: by the stem or downsample, and by every branch of every block. So does all that a head
writes: its values, and what talking heads pass on from it to others.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from efficientformer.arch.spec import FFN, AttnFFN, Block, num_heads_of
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import UsageError
from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.embed import Stem
from efficientformer.models.network import Network
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.scoring.accuracy import absorb_network, extract_network, reestimate_batch_norm
from efficientformer.search.scoring.gates import gate_heads
from efficientformer.search.scoring.hooked import hooked
from efficientformer.search.scoring.permutation import permute_heads, permute_hidden, permute_stage, permute_stem
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.kind import SearchedTask


@dataclass(frozen=True)
class ChannelImportances:
    """Importances of all channels that widths cut, and of all heads.

    stem: of the channels before the stem's last convolution, then, if it has three, of those after its first.
    stages: of the channels of every stage.
    hidden: of the hidden channels of every block, stage by stage.
    heads: of the heads of every block, stage by stage; none without attention.
    """

    stem: list[Tensor]
    stages: list[Tensor]
    hidden: list[list[Tensor]]
    heads: list[list[Tensor]]


def sort_ancestor(
    ancestor: Ancestor, batches: Sequence[Batch], kind: SearchedTask, measured_on: Subnet | None = None
) -> list[list[int]]:
    """Reorder all channels and heads of an ancestor in place, the most important first, so that narrow subnets keep
    these.

    Its subnets of the largest widths compute the same as before. Where several candidates share a place, as in a
    MetaPath, the channels of a stage matter by the sum over networks that have them all. Returns the order of every
    stage's channels, as `permute_stage` takes it.

    batches: images (B, C, H, W) and labels. Batch norm statistics for the measuring are estimated from them as well;
        the ancestor's own statistics are reordered and not replaced.
    kind: what the labels are, and the loss.
    measured_on: a subnet that alone has learned something, such as a parent; by default channels are measured on all
        kinds of block. It computes the same as before too: channels that it does not have stay behind its own, in the
        order that they were in.

    Raises UsageError without images.
    """
    subnets = ancestor.widest()
    measured = [_measured(ancestor, subnet, batches, kind) for subnet in ([measured_on] if measured_on else subnets)]
    stem, stages = _sums([found.stem for found in measured]), _sums([found.stages for found in measured])
    # All of them before any goes back: they share the stem, the downsamples and the head.
    networks = [extract_network(ancestor, subnet) for subnet in subnets]
    stem = [_padded(known, conv.in_channels) for known, conv in zip(stem, _inside_stem(networks[0].stem), strict=True)]
    stages = [_padded(known, width) for known, width in zip(stages, subnets[0].architecture.widths, strict=True)]
    for position, (subnet, network) in enumerate(zip(subnets, networks, strict=True)):
        own = _inside_like(subnet, measured_on, measured[0]) if measured_on else measured[position]
        sort_channels(network, replace(own, stem=stem, stages=stages))
        absorb_network(ancestor, subnet, network)
    return [_descending(stage).tolist() for stage in stages]


def _measured(ancestor: Ancestor, subnet: Subnet, batches: Sequence[Batch], kind: SearchedTask) -> ChannelImportances:
    network = extract_network(ancestor, subnet)
    reestimate_batch_norm(network, [x_BCHW for x_BCHW, _ in batches])
    return channel_importances(network, batches, kind)


def _inside_like(subnet: Subnet, measured_on: Subnet, found: ChannelImportances) -> ChannelImportances:
    """The importance of the hidden channels and heads of a subnet that fills all places, by another. Those that the
    other does not have, and those of other kinds of block, are the least important."""
    hidden, heads = list[list[Tensor]](), list[list[Tensor]]()
    for index, stage in enumerate(subnet.architecture.stages):
        others = measured_on.architecture.stages[index].blocks
        known = dict(zip(measured_on.origins[index], range(len(others)), strict=True))
        hidden.append([])
        heads.append([])
        for place, block in enumerate(stage.blocks):
            at, of_hidden, of_heads = known.get(place), _NONE, _NONE
            if at is not None and _shares_mlp(block, others[at]):
                of_hidden, of_heads = found.hidden[index][at], found.heads[index][at]
            hidden[-1].append(_padded(of_hidden, stage.width * block.mlp_ratio))
            heads[-1].append(_padded(of_heads, num_heads_of(block)))
    return replace(found, hidden=hidden, heads=heads)


_NONE = torch.empty(0)


def _padded(importance: Tensor, width: int) -> Tensor:
    """The importance of `width` channels: what is known of the first, and of the others less than of any."""
    return torch.cat([importance, importance.new_full((width - len(importance),), -1.0)])


def _shares_mlp(block: Block, other: Block) -> bool:
    """Whether one ancestor has both blocks' MLPs in the same tensors: an FFN is part of an AttnFFN."""
    return type(block) is type(other) or {type(block), type(other)} == {FFN, AttnFFN}


def sort_channels(network: Network, importances: ChannelImportances) -> None:
    """Reorder all channels and heads of a network in place, the most important first. The network computes the same.

    An optimizer's moments are not reordered, so reorder before a training begins. Raises UsageError for a deploy form.
    """
    for position, of_stem in enumerate(importances.stem):
        permute_stem(network, _descending(of_stem), is_first=position == 1)
    for index, stage in enumerate(importances.stages):
        permute_stage(network, index, _descending(stage))
        for position, hidden in enumerate(importances.hidden[index]):
            permute_hidden(network, index, position, _descending(hidden))
        for position, heads in enumerate(importances.heads[index]):
            permute_heads(network, index, position, _descending(heads))


def channel_importances(network: Network, batches: Iterable[Batch], kind: SearchedTask) -> ChannelImportances:
    """The importance of every channel and head of a classifier, in evaluation mode. Raises UsageError without images.

    Batch norm uses its running statistics: estimate those of a supernet's network before.

    batches: images (B, C, H, W) and labels; 250 to 1,000 images in all.
    kind: what the labels are, and the loss.
    """
    totals: dict[Hashable, Tensor] = {}
    num_images, device = 0, next(network.parameters()).device
    with _recording(network) as recorded, torch.enable_grad():
        for x_BCHW, labels in batches:
            recorded.clear()
            logits_BK = network(x_BCHW.to(device).detach().requires_grad_())
            loss = kind.loss(logits_BK, kind.targets(labels.to(device)), reduction="sum")
            gradients = torch.autograd.grad(loss, [x for _, x in recorded])
            changes_BC = defaultdict[Hashable, list[Tensor]](list)
            for (channels, x), gradient in zip(recorded, gradients, strict=True):
                changes_BC[channels].append(_over_positions(x.detach() * gradient))
            for channels, of_writers in changes_BC.items():
                total_C = torch.stack(of_writers).sum(dim=0).abs().double().sum(dim=0)
                totals[channels] = totals[channels] + total_C if channels in totals else total_C
            num_images += len(labels)
    if not num_images:
        raise UsageError("The importance of channels is measured on images, and there are none.")
    means = {channels: (total_C / num_images).float() for channels, total_C in totals.items()}
    depths = network.architecture.depths
    return ChannelImportances(
        [means["stem", position] for position in range(len(_inside_stem(network.stem)))],
        [means[index] for index in range(len(depths))],
        [[means[index, place] for place in range(depth)] for index, depth in enumerate(depths)],
        [
            [means.get((index, place, "heads"), torch.empty(0)) for place in range(depth)]
            for index, depth in enumerate(depths)
        ],
    )


@contextmanager
def _recording(network: Network) -> Iterator[list[tuple[Hashable, Tensor]]]:
    """What each forward pass gives to channels: those of the stem, of a stage (its index) or of an MLP (stage, place);
    and to heads (stage, place, "heads").

    In evaluation mode. What is written into a stage's residual stream is recorded writer by writer; of heads, gates
    that multiply all that they write by 1.
    """
    recorded: list[tuple[Hashable, Tensor]] = []

    def input_of(module: nn.Module, channels: Hashable) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_pre_hook(lambda _, inputs: recorded.append((channels, inputs[0])))

    def output_of(module: nn.Module, channels: Hashable) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, __, x: recorded.append((channels, x)))  # type: ignore[arg-type]

    hooks = [input_of(conv, ("stem", position)) for position, conv in enumerate(_inside_stem(network.stem))]
    for index, stage in enumerate(network.stages):
        hooks.append(output_of(stage.downsample if index else network.stem, index))  # type: ignore[arg-type]
        for place, block in enumerate(stage.blocks):  # type: ignore[arg-type]
            hooks.append(input_of(block.mlp.fc2, (index, place)))
            branches = [getattr(block, name) for name in ("token_mixer", "mlp") if hasattr(block, name)]
            hooks += [output_of(branch, index) for branch in branches]
            if isinstance(attention := getattr(block, "token_mixer", None), BiasedAttention):
                hooks += gate_heads(attention, partial(_record, recorded, (index, place, "heads")))
    with hooked(network, hooks):
        yield recorded


def _record(recorded: list[tuple[Hashable, Tensor]], channels: Hashable, x: Tensor) -> None:
    recorded.append((channels, x))


def _inside_stem(stem: Stem) -> list[nn.Conv2d]:
    """The convolutions of the stem that read channels of the stem, the last one first."""
    return [stem.conv2, *([] if stem.first is None else [stem.conv1])]


def _sums(rows: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The sum of every column."""
    return [torch.stack(column).sum(dim=0) for column in zip(*rows, strict=True)]


def _over_positions(x: Tensor) -> Tensor:
    """Sums (B, C) of a map (B, C, H, W) or of tokens (B, N, C); gates (B, h) as they are."""
    return x if x.dim() == 2 else x.sum(dim=(2, 3)) if x.dim() == 4 else x.sum(dim=1)


def _descending(importance: Tensor) -> Tensor:
    return importance.argsort(descending=True, stable=True)
