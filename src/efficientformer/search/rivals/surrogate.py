"""The additive surrogate of accuracy: the sum of what each choice costs alone. No torch.

Slimming is greedy, so its distance from the optimum is unknown. With additive accuracies the optimum can be computed
(`optimum`), and slimming can be compared with it.
"""

from dataclasses import dataclass

from efficientformer.arch.edits import first_mb3d
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import MB4D
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import AccuracyOracle


@dataclass(frozen=True)
class AdditiveSurrogate:
    """Cost of single choices in the largest network, in points of accuracy.

    largest: accuracy of the largest network, in percent.
    narrowed: `narrowed[s][w]` is the cost of width w in stage s.
    dropped: `dropped[s][b]` is the cost of replacing block b of stage s by identity.
    converted: `converted[s][b]` is the cost of replacing an MB3D of the largest network by MB4D, 0 for other blocks.
    """

    largest: float
    narrowed: tuple[dict[int, float], ...]
    dropped: tuple[tuple[float, ...], ...]
    converted: tuple[tuple[float, ...], ...]

    def drop(self, subnet: Subnet) -> float:
        """Points below the largest network."""
        total = 0.0
        for index, (stage, origins) in enumerate(zip(subnet.architecture.stages, subnet.origins, strict=True)):
            total += self.narrowed[index][stage.width]
            total += sum(cost for block, cost in enumerate(self.dropped[index]) if block not in origins)
            total += sum(
                self.converted[index][origin]
                for block, origin in zip(stage.blocks, origins, strict=True)
                if block.kind == MB4D.kind
            )
        return total

    def __call__(self, subnet: Subnet) -> float:
        """Accuracy in percent: the surrogate is an accuracy oracle."""
        return self.largest - self.drop(subnet)


def fit_surrogate(space: SearchSpace, accuracy: AccuracyOracle) -> AdditiveSurrogate:
    """Evaluate the largest network and every single choice: each width, each dropped block, each number of MB3D.

    MB3D are converted from the first on, as in slimming, so the cost of a block is relative to the conversions before.
    """
    largest = Subnet.largest(space)
    best = accuracy(largest)
    narrowed, dropped, converted = [], [], []
    for index, stage in enumerate(largest.architecture.stages):
        narrower = ((width, largest.narrow(index, stage.width - width)) for width in space.widths(index))
        narrowed.append({width: best - accuracy(subnet) for width, subnet in narrower})
        kept_alone = stage.depth == 1
        dropped.append(
            tuple(0.0 if kept_alone else best - accuracy(largest.drop(index, block)) for block in range(stage.depth))
        )
        converted.append([0.0] * stage.depth)
    subnet, before = largest, best
    while position := first_mb3d(subnet.architecture):
        subnet = subnet.remove_first_mb3d(space.mb4d)
        after = accuracy(subnet)
        converted[position[0]][position[1]] = before - after
        before = after
    return AdditiveSurrogate(best, tuple(narrowed), tuple(dropped), tuple(map(tuple, converted)))
