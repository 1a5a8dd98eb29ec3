"""Importance scores of paths and stages (paper, section 4.2). No torch.

The paper divides raw logits; logits may be zero or negative, so probabilities take their place: the order of two paths
is the same whenever the raw ratio is defined.
"""

from collections.abc import Sequence

from efficientformer.search.subnet import Subnet

PathProbabilities = dict[str, float]
"""Probability of each candidate of one MetaPath: keys MB4D, identity and, in stages 3 and 4, MB3D."""


def path_importance(probabilities: PathProbabilities) -> float:
    """How much likelier a block is than its absence: (p_3D + p_4D) / p_identity."""
    block = probabilities["MB4D"] + probabilities.get("MB3D", 0.0)
    return block / max(probabilities["identity"], 1e-12)


def block_importances(alphas: Sequence[Sequence[PathProbabilities]], subnet: Subnet) -> list[list[float]]:
    """Importance of every block that the subnet still has, stage by stage."""
    return [
        [path_importance(stage[origin]) for origin in kept] for stage, kept in zip(alphas, subnet.origins, strict=True)
    ]


def stage_importances(alphas: Sequence[Sequence[PathProbabilities]], subnet: Subnet) -> list[float]:
    """A stage is worth the sum of its blocks."""
    return [sum(stage) for stage in block_importances(alphas, subnet)]
