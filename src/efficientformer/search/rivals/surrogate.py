"""The additive surrogate of accuracy: what each choice costs alone, summed. No torch.

Slimming is a greedy walk and says nothing of how far from the best it ends. With accuracies that add up, the best is
computable (`optimum`), so the walk can be held against it.
"""

from dataclasses import dataclass

from efficientformer.arch.edits import first_mb3d
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import MB4D
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import AccuracyOracle


@dataclass(frozen=True)
class AdditiveSurrogate:
    """Points of accuracy that single choices cost the largest network, whose accuracy is `largest`.

    `narrowed[s][w]` is the cost of width w in stage s; `dropped[s][b]` that of identity for block b; `converted[s][b]`
    that of MB4D for a block that is MB3D in the largest network, and 0 for the others.
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
        """Accuracy in percent, as an accuracy oracle gives it."""
        return self.largest - self.drop(subnet)


def fit_surrogate(space: SearchSpace, accuracy: AccuracyOracle) -> AdditiveSurrogate:
    """Evaluate the largest network and every single choice: each width, each block as identity, each run of MB3D.

    Blocks become MB4D from the first on, as slimming does it, so a block's cost is what it adds to those before it.
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
