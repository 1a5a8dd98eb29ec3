"""The accuracy oracle of slimming: the accuracy of a subnet with the weights of its ancestor, without training.

Batch norm statistics differ between subnets, so they are re-estimated for every subnet before it is scored.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from efficientformer.data.loading.loader import Batch, Images, KeptBatch
from efficientformer.errors import TrainingError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.search.ancestor import Ancestor, prefix
from efficientformer.search.scoring.hidden_means import expect_means, folded
from efficientformer.search.scoring.kept_features import Features, KeptFeatures, cell_modules, cells_of
from efficientformer.search.scoring.score import Metric, Score
from efficientformer.search.scoring.tally import Tally
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.kind import SearchedTask


def extract_network(ancestor: Ancestor, subnet: Subnet, first_cell: int = 0) -> Network:
    """The subnet as a separate network, with the ancestor's weights cut to its widths.

    Where the ancestor has means of hidden neurons, those of the ones that are cut are in the biases. Channels last, and
    so should the images be: a third faster on CPUs. Cells before `first_cell` have no weights; use
    it when their outputs are known.
    """
    # Initializing weights that are about to be replaced takes longer than scoring some networks.
    with torch.device("meta"):
        network = create_model(subnet.architecture, num_classes=ancestor.num_classes, resolution=ancestor.resolution)
    cells = cell_modules(network)
    unneeded = {id(tensor) for cell in cells[:first_cell] for tensor in cell.state_dict(keep_vars=True).values()}
    source, device = ancestor.state_dict(), next(ancestor.parameters()).device
    state = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in unneeded:
            cut = prefix(source[ancestor.source_name(name, subnet, tensor.shape)], tensor.shape)
            layout = torch.channels_last if cut.dim() == 4 else torch.contiguous_format
            state[name] = cut.clone(memory_format=layout)
    for name, shift in folded(ancestor, subnet, state):
        state[name] = state[name] + shift
    network.load_state_dict(state, strict=not unneeded, assign=True)
    for part in (*cells[first_cell:], network.norm, network.output_norms, network.head):
        if part is not None:
            part.to(device)
    return network


@torch.no_grad()
def absorb_network(ancestor: Ancestor, subnet: Subnet, network: Network) -> None:
    """Inverse of `extract_network`: copy the weights of the subnet back into the ancestor."""
    target, state = ancestor.state_dict(), network.state_dict()
    state |= {name: state[name] - shift for name, shift in folded(ancestor, subnet, state)}
    for name, tensor in state.items():
        prefix(target[ancestor.source_name(name, subnet, tensor.shape)], tensor.shape).copy_(tensor)


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Images], *, collect: bool = False) -> list[Tensor]:
    """Replace running statistics by the averages over `batches`; every other layer stays in evaluation mode.

    Returns the model's outputs, batch by batch, with `collect`; otherwise an empty list.
    """
    model.eval()
    norms = _batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    device = next(model.parameters()).device
    collected = []
    for x in batches:
        out = model(x.to(device))
        if collect:
            collected.append(out)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return collected


def normalize_by_batch(model: nn.Module) -> None:
    """Let batch norm use the statistics of each batch; every other layer is set to evaluation mode."""
    model.eval()
    for norm in _batch_norms(model):
        norm.train()


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


class SupernetAccuracy:
    """Accuracy of a subnet in percent on held-out images, with the supernet's weights.

    supernet: not changed, except by `use_weights`.
    bn_batches: images (B, 3, H, W) from which batch norm statistics are re-estimated, as floats or as bytes. Without
        any, each batch of `held_out` is normalized by its own statistics.
    held_out: (images, labels) that subnets are scored on, the images as floats or as bytes.
    kind: what the labels are, and how networks are scored.
    metric: the accuracy that a call returns and that `if_at_least` compares.
    """

    def __init__(
        self,
        supernet: Ancestor,
        bn_batches: Sequence[Images],
        held_out: Sequence[Batch | KeptBatch],
        kind: SearchedTask,
        metric: Metric = "likelihood",
    ) -> None:
        self.supernet, self._kind = supernet, kind
        self._metric: Metric = metric
        self._images = Features([*bn_batches], [images for images, _ in held_out])
        self._labels = [labels for _, labels in held_out]
        self._kept = KeptFeatures(supernet, self._images.num_images)

    def __call__(self, subnet: Subnet) -> float:
        return self.score(subnet).value(self._metric)

    def score(self, subnet: Subnet) -> Score:
        """Both accuracies of a subnet."""
        score = self.if_at_least(subnet, -math.inf)
        assert score is not None
        return score

    def use_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Score with other weights of the supernet from now on."""
        expect_means(self.supernet, weights)
        self.supernet.load_state_dict(weights)
        self._kept.clear()

    @torch.inference_mode()
    def if_at_least(self, subnet: Subnet, least_accuracy: float) -> Score | None:
        """The score of a subnet, or None as soon as its accuracy cannot reach `least_accuracy`.

        Features before the first cell that differs from the subnets scored before are not computed again, except under
        a dense head, which reads the maps of several stages. A subnet whose outputs are not finite scores zero. Raises
        TrainingError if that is due to the supernet's weights.
        """
        cells, is_dense = cells_of(subnet), subnet.architecture.head is not None
        known, features = (None if is_dense else self._kept.deepest(cells)) or (0, self._images)
        network = extract_network(self.supernet, subnet, first_cell=known)
        device = next(self.supernet.parameters()).device
        modules = [network] if is_dense else [*cell_modules(network), network.norm]
        ends = [] if is_dense else [end for end in self._kept.places(cells) if end > known]
        parts = [nn.Sequential(*modules[first:end]) for first, end in pairwise([known, *ends, len(modules)])]
        estimating: list[Sequence[Images]] = [features.estimating]
        for part in parts:
            if self._images.estimating:
                estimating.append(reestimate_batch_norm(part, estimating[-1], collect=part is not parts[-1]))
            else:
                normalize_by_batch(part)
                estimating.append([])
        scoring: list[list[Tensor]] = [[] for _ in ends]
        num_left, tally = sum(map(len, self._labels)), Tally(self._kind)
        for x, labels in zip(features.scoring, self._labels, strict=True):
            x = x.to(device)
            for part, kept in zip(parts, [*scoring, None], strict=True):
                x = part(x)
                if kept is not None:
                    kept.append(x)
            outputs: Tensor = x if is_dense else network.forward_head(x)  # type: ignore[assignment]
            outputs = outputs.float().cpu()
            if not bool(outputs.isfinite().all()):
                _require_finite(self.supernet)
                return None if least_accuracy > 0 else Score(0.0, 0.0)
            tally.add(outputs, labels)
            num_left -= len(labels)
            if tally.score(num_left).value(self._metric) < least_accuracy:
                return None
        behind = zip(ends, estimating[1:-1], scoring, strict=True)
        self._kept.add(cells, {end: Features(*batches) for end, *batches in behind})
        return tally.score()


def _require_finite(supernet: Ancestor) -> None:
    for name, tensor in supernet.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise TrainingError(
                f"The supernet's weights are not finite (first {name}), so no subnet has an accuracy. Run "
                "'efficientformer supernet' again with a lower --supernet.lr."
            )
