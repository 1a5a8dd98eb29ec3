"""Importance scores of paths and stages (paper, section 4.2). No torch.

The paper divides raw logits. Logits may be zero or negative, so we divide probabilities; the order of two paths is the
same whenever the raw ratio is defined.
"""

from collections.abc import Sequence

from efficientformer.search.subnet import Subnet

PathProbabilities = dict[str, float]
"""Probability of each candidate of one MetaPath; keys are MB4D, identity and, in stages 3 and 4, MB3D."""


def path_importance(probabilities: PathProbabilities) -> float:
    """Importance score of a path: (p_3D + p_4D) / p_identity."""
    block = probabilities["MB4D"] + probabilities.get("MB3D", 0.0)
    return block / max(probabilities["identity"], 1e-12)


def block_importances(alphas: Sequence[Sequence[PathProbabilities]], subnet: Subnet) -> list[list[float]]:
    """Importance of every block of the subnet, stage by stage."""
    return [
        [path_importance(stage[origin]) for origin in kept] for stage, kept in zip(alphas, subnet.origins, strict=True)
    ]


def stage_importances(alphas: Sequence[Sequence[PathProbabilities]], subnet: Subnet) -> list[float]:
    """Importance of every stage: the sum over its blocks."""
    return [sum(stage) for stage in block_importances(alphas, subnet)]
