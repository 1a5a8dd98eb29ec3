"""Importance scores of paths, blocks and stages (paper, section 4.2). No torch.

The paper divides raw logits. Logits may be zero or negative, so we divide probabilities; the order of two paths is the
same whenever the raw ratio is defined.
"""

from collections.abc import Callable, Sequence

from efficientformer.arch.moves import Drop
from efficientformer.arch.space import SearchSpace
from efficientformer.search.subnet import Subnet

PathProbabilities = dict[str, float]
"""Probability of each candidate of one MetaPath, by the kind of block or `IDENTITY`."""
IDENTITY = "identity"
Importances = Sequence[Sequence[float]]
"""Importance of every place of a space, stage by stage."""


def path_importances(alphas: Sequence[Sequence[PathProbabilities]]) -> Importances:
    """Importance of every MetaPath from the probabilities of its candidates."""
    return [[path_importance(path) for path in stage] for stage in alphas]


def path_importance(probabilities: PathProbabilities) -> float:
    """Importance score of a path: (p_3D + p_4D) / p_identity."""
    block = sum(probability for kind, probability in probabilities.items() if kind != IDENTITY)
    return block / max(probabilities[IDENTITY], 1e-12)


def drop_importances(space: SearchSpace, accuracy: Callable[[Subnet], float]) -> Importances:
    """Importance of every place without path logits (V2): what dropping it alone costs the largest network.

    In the unit of `accuracy`. The only place of a stage cannot be dropped; it counts as all of the accuracy.
    """
    largest = Subnet.largest(space)
    whole = accuracy(largest)
    return [
        [whole - accuracy(largest.after(Drop(stage, place))) if depth > 1 else whole for place in range(depth)]
        for stage, depth in enumerate(space.max_depths)
    ]


def stage_importances(importances: Importances, subnet: Subnet) -> list[float]:
    """Importance of every stage: the sum over the places that the subnet keeps."""
    return [sum(stage[origin] for origin in kept) for stage, kept in zip(importances, subnet.origins, strict=True)]
