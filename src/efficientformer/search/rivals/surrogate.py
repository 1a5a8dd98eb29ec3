"""The additive surrogate of accuracy: the sum of what each choice costs alone. No torch.

Slimming is greedy, so its distance from the optimum is unknown. With additive accuracies the optimum can be computed
(`optimum`), and slimming can be compared with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from efficientformer.arch.dense import DenseHead
from efficientformer.arch.moves import Contract, Drop, Move, Narrow, NarrowHead, PruneHeads, Swap
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Block, in_kind, num_heads_of, takes_tokens
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import AccuracyOracle


@dataclass(frozen=True)
class AdditiveSurrogate:
    """Cost of single choices in the largest network, in points of accuracy.

    largest: accuracy of the largest network, in percent.
    narrowed: `narrowed[s][w]` is the cost of width w in stage s.
    dropped: `dropped[s][b]` is the cost of replacing block b of stage s by identity.
    changed: `changed[s][b]` is the cost of every other block that may take the place of block b of stage s.
    head: `head[o][v]` is the cost of value v of option o of a dense head.
    """

    largest: float
    narrowed: tuple[dict[int, float], ...]
    dropped: tuple[tuple[float, ...], ...]
    changed: tuple[tuple[Mapping[Block, float], ...], ...]
    head: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    def drop(self, subnet: Subnet) -> float:
        """Points below the largest network."""
        total = 0.0
        for index, (stage, origins) in enumerate(zip(subnet.architecture.stages, subnet.origins, strict=True)):
            total += self.narrowed[index][stage.width]
            total += sum(cost for block, cost in enumerate(self.dropped[index]) if block not in origins)
            total += sum(
                self.changed[index][origin].get(block, 0.0) for block, origin in zip(stage.blocks, origins, strict=True)
            )
        return total + self.drop_of_head(subnet.architecture.head)

    def drop_of_head(self, head: DenseHead | None) -> float:
        return sum(costs[getattr(head, option)] for option, costs in self.head.items())

    def __call__(self, subnet: Subnet) -> float:
        """Accuracy in percent: the surrogate is an accuracy oracle."""
        return self.largest - self.drop(subnet)


def fit_surrogate(space: SearchSpace, accuracy: AccuracyOracle) -> AdditiveSurrogate:
    """Evaluate the largest network and every single choice alone: each width, each dropped block, for every block each
    other kind, expansion and number of heads, and each option of a dense head. A block that differs in several of these
    costs their sum.

    Blocks on tokens cannot become blocks on maps one by one in any order. They are swapped from the first on, as in
    slimming, so the cost of such a swap is relative to those before.
    """
    largest = Subnet.largest(space)
    best = accuracy(largest)

    def cost(*moves: Move) -> float:
        return best - accuracy(largest.after(*moves))

    narrowed: list[dict[int, float]] = []
    dropped: list[tuple[float, ...]] = []
    for index, stage in enumerate(largest.architecture.stages):
        narrowed.append({width: cost(Narrow(index, stage.width - width)) for width in space.widths(index)})
        kept_alone = stage.depth == 1
        dropped.append(tuple(0.0 if kept_alone else cost(Drop(index, block)) for block in range(stage.depth)))
    by_turns = _kinds_by_turns(space, largest, best, accuracy)
    changed: list[tuple[Mapping[Block, float], ...]] = []
    for index, stage in enumerate(largest.architecture.stages):
        allowed, places = space.stages[index], list[Mapping[Block, float]]()
        for place, top in enumerate(stage.blocks):
            kinds = by_turns.get((index, place)) or {
                block.kind: cost(Swap(index, place, in_kind(top, block)))
                for block in allowed.blocks
                if block.kind != top.kind and not takes_tokens(block)
            }
            expansions = {
                ratio: cost(Contract(index, place, ratio)) for ratio in allowed.expansions if ratio != top.mlp_ratio
            }
            kinds, expansions = {top.kind: 0.0} | kinds, {top.mlp_ratio: 0.0} | expansions
            attending = allowed.blocks[0]
            swap = () if attending.kind == top.kind else (Swap(index, place, in_kind(top, attending)),)
            heads = {
                number: cost(*swap, PruneHeads(index, place, number)) - kinds[attending.kind]
                for number in allowed.heads
                if attending.kind in kinds and number != num_heads_of(in_kind(top, attending))
            }
            places.append(
                {
                    block: kinds[block.kind] + expansions[block.mlp_ratio] + heads.get(num_heads_of(block), 0.0)
                    for block in allowed.candidates
                    if block != top and block.kind in kinds
                }
            )
        changed.append(tuple(places))
    head = {
        option: {value: cost(NarrowHead(option, value)) if value < max(choices) else 0.0 for value in choices}
        for option, choices in (space.head.options.items() if space.head else ())
    }
    return AdditiveSurrogate(best, tuple(narrowed), tuple(dropped), tuple(changed), head)


def _kinds_by_turns(
    space: SearchSpace, largest: Subnet, best: float, accuracy: AccuracyOracle
) -> dict[tuple[int, int], dict[str, float]]:
    """By stage and place of the blocks on tokens, the cost of each other kind, relative to the swaps before."""
    costs: dict[tuple[int, int], dict[str, float]] = {}
    subnet, before = largest, best
    while swap := next(
        (
            move
            for move in space.shrinks(subnet.architecture)
            if isinstance(move, Swap) and takes_tokens(largest.architecture.stages[move.stage].blocks[move.block])
        ),
        None,
    ):
        subnet = subnet.after(swap)
        after = accuracy(subnet)
        known = costs.setdefault((swap.stage, swap.block), {})
        known[swap.into.kind] = next(reversed(known.values()), 0.0) + before - after
        before = after
    return costs
