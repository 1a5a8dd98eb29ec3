"""Importance scores of paths and stages (paper, section 4.2). No torch.

The paper divides raw logits. Logits may be zero or negative, so we divide probabilities; the order of two paths is the
same whenever the raw ratio is defined.
"""

from collections.abc import Sequence

from efficientformer.search.subnet import Subnet

PathProbabilities = dict[str, float]
"""Probability of each candidate of one MetaPath, by the kind of block or `IDENTITY`."""
IDENTITY = "identity"


def path_importance(probabilities: PathProbabilities) -> float:
    """Importance score of a path: (p_3D + p_4D) / p_identity."""
    block = sum(probability for kind, probability in probabilities.items() if kind != IDENTITY)
    return block / max(probabilities[IDENTITY], 1e-12)


def block_importances(alphas: Sequence[Sequence[PathProbabilities]], subnet: Subnet) -> list[list[float]]:
    """Importance of every block of the subnet, stage by stage."""
    return [
        [path_importance(stage[origin]) for origin in kept] for stage, kept in zip(alphas, subnet.origins, strict=True)
    ]


def stage_importances(alphas: Sequence[Sequence[PathProbabilities]], subnet: Subnet) -> list[float]:
    """Importance of every stage: the sum over its blocks."""
    return [sum(stage) for stage in block_importances(alphas, subnet)]
