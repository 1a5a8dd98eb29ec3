"""The additive surrogate of accuracy: the sum of what each choice costs alone. No torch.

Slimming is greedy, so its distance from the optimum is unknown. With additive accuracies the optimum can be computed
(`optimum`), and slimming can be compared with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from efficientformer.arch.moves import Drop, Narrow, Swap
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Block
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import AccuracyOracle


@dataclass(frozen=True)
class AdditiveSurrogate:
    """Cost of single choices in the largest network, in points of accuracy.

    largest: accuracy of the largest network, in percent.
    narrowed: `narrowed[s][w]` is the cost of width w in stage s.
    dropped: `dropped[s][b]` is the cost of replacing block b of stage s by identity.
    changed: `changed[s][b]` is the cost of every block that may take the place of block b of stage s.
    """

    largest: float
    narrowed: tuple[dict[int, float], ...]
    dropped: tuple[tuple[float, ...], ...]
    changed: tuple[tuple[Mapping[Block, float], ...], ...]

    def drop(self, subnet: Subnet) -> float:
        """Points below the largest network."""
        total = 0.0
        for index, (stage, origins) in enumerate(zip(subnet.architecture.stages, subnet.origins, strict=True)):
            total += self.narrowed[index][stage.width]
            total += sum(cost for block, cost in enumerate(self.dropped[index]) if block not in origins)
            total += sum(
                self.changed[index][origin].get(block, 0.0) for block, origin in zip(stage.blocks, origins, strict=True)
            )
        return total

    def __call__(self, subnet: Subnet) -> float:
        """Accuracy in percent: the surrogate is an accuracy oracle."""
        return self.largest - self.drop(subnet)


def fit_surrogate(space: SearchSpace, accuracy: AccuracyOracle) -> AdditiveSurrogate:
    """Evaluate the largest network and every single choice: each width, each dropped block, each swapped one.

    Blocks are swapped from the first on, as in slimming, so the cost of a swap is relative to those before.
    """
    largest = Subnet.largest(space)
    best = accuracy(largest)
    narrowed: list[dict[int, float]] = []
    dropped: list[tuple[float, ...]] = []
    changed: list[list[dict[Block, float]]] = []
    for index, stage in enumerate(largest.architecture.stages):
        narrower = ((width, largest.after(Narrow(index, stage.width - width))) for width in space.widths(index))
        narrowed.append({width: best - accuracy(subnet) for width, subnet in narrower})
        kept_alone = stage.depth == 1
        dropped.append(
            tuple(
                0.0 if kept_alone else best - accuracy(largest.after(Drop(index, block)))
                for block in range(stage.depth)
            )
        )
        changed.append([{} for _ in stage.blocks])
    subnet, before = largest, best
    while swap := next((move for move in space.shrinks(subnet.architecture) if isinstance(move, Swap)), None):
        subnet = subnet.after(swap)
        after = accuracy(subnet)
        changed[swap.stage][swap.block][swap.into] = before - after
        before = after
    return AdditiveSurrogate(best, tuple(narrowed), tuple(dropped), tuple(map(tuple, changed)))
