"""The slimming actions: the paper's three (section 4.2, step 4), V2's, and supersets of them. No torch.

An action is a move of the space, continued by further moves of its kind until it saves enough.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from efficientformer.arch.moves import Contract, Drop, Move, Narrow, NarrowHead, PruneHeads, Swap
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import num_heads_of
from efficientformer.search.importance import Importances, stage_importances
from efficientformer.search.subnet import Subnet

ActionName = Literal[
    "identity", "swap", "contract", "prune", "narrow", "narrow_fpn", "narrow_head", "shorten_head", "exchange"
]
ActionSet = Literal["paper", "every", "exchange"]
"""What a step may choose from. paper: the least important block to drop, to swap, to contract and to take heads from,
the least important stage, and any option of a dense head. every: any block, any stage. exchange: those, and narrowing
one stage while widening another."""
IsEnough = Callable[[Subnet], bool]
"""Whether the result of an action saves enough; until it does, the action continues as long as it can."""
Place = tuple[int, int]
"""A block: its stage and its position in that stage, both counted from 1."""
NAMES: dict[type[Move], ActionName] = {
    Drop: "identity",
    Swap: "swap",
    Contract: "contract",
    PruneHeads: "prune",
    Narrow: "narrow",
}
OF_HEADS: dict[str, ActionName] = {"fpn_width": "narrow_fpn", "width": "narrow_head", "depth": "shorten_head"}
"""By the option of a dense head."""


def once(_: Subnet) -> bool:
    """Every action stops after one block or one width step, as in the paper."""
    return True


@dataclass(frozen=True)
class Action:
    """A way to make the network faster.

    name: the kind of action.
    stage: the stage that it changes, from 1; in an exchange, the stage that loses channels; None for a dense head.
    block: position of the changed block in its stage, from 1; None for changes of width.
    result: the subnet after the action.
    wider: the stage that gains channels in an exchange, from 1.
    further: other blocks that are changed like `block` in the same action.
    into: what the blocks become: a kind, an expansion or a number of heads; of several, each once, as in `MB3D, MB4D`
        and `1-3`. Of a dense head, what the option becomes.
    """

    name: ActionName
    stage: int | None
    block: int | None
    result: Subnet
    wider: int | None = None
    further: tuple[Place, ...] = ()
    into: str | None = None

    def __str__(self) -> str:
        match self.name:
            case "identity":
                return f"{self._blocks} {self._become} identity"
            case "swap":
                return f"{self._blocks} {self._become} {self.into}"
            case "contract":
                are_several = "s" if "," in str(self.into) or "-" in str(self.into) else ""
                return f"{self._blocks} contract{'' if self.further else 's'} to expansion{are_several} {self.into}"
            case "prune":
                heads = "head" if self.into == "1" else "heads"
                return f"{self._blocks} keep{'' if self.further else 's'} {self.into} {heads}"
            case "narrow":
                return f"stage {self.stage} narrows to {self._width(self.stage)}"
            case "narrow_fpn":
                return f"the head's pyramid narrows to {self.into}"
            case "narrow_head":
                return f"the head narrows to {self.into}"
            case "shorten_head":
                return f"the head's branches shorten to {self.into}"
            case "exchange":
                assert self.wider is not None
                narrowed, widened = self._width(self.stage), self._width(self.wider)
                return f"stage {self.stage} narrows to {narrowed} and stage {self.wider} widens to {widened}"

    @property
    def _become(self) -> str:
        return "become" if self.further else "becomes"

    @property
    def _blocks(self) -> str:
        """`block 1 of stage 2, blocks 4-6, 9 of stage 3`."""
        assert self.stage is not None and self.block is not None
        words = []
        for stage, places in groupby(sorted([(self.stage, self.block), *self.further]), key=lambda place: place[0]):
            blocks = [block for _, block in places]
            words.append(f"block{'s' if len(blocks) > 1 else ''} {_ranges(blocks)} of stage {stage}")
        return ", ".join(words)

    def _width(self, stage: int | None) -> int:
        assert stage is not None
        return self.result.architecture.stages[stage - 1].width


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers with consecutive ones joined: `4-6, 9`."""
    rows: list[list[int]] = []
    for number in numbers:
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ", ".join(f"{row[0]}-{row[-1]}" if len(row) > 1 else str(row[0]) for row in rows)


def possible_actions(
    subnet: Subnet,
    importances: Importances,
    space: SearchSpace,
    action_set: ActionSet = "paper",
    is_enough: IsEnough = once,
) -> list[Action]:
    """The actions that a step weighs: at most one of each kind for "paper", all of each kind for the other sets.

    subnet: the network that the step starts from.
    importances: of every place of the space.
    space: the search space, which says what is possible.
    action_set: which actions are allowed.
    is_enough: when an action stops. Until then it changes further blocks in the same way, the least important first, or
        narrows the same stage further. An exchange is always one width step.
    """
    stages = stage_importances(importances, subnet)

    def rank(move: Move, of: Subnet = subnet) -> float:
        if isinstance(move, NarrowHead):
            return 0.0
        if isinstance(move, Narrow):
            return stages[move.stage]
        stage, origin = _origin(move, of)
        return importances[stage][origin]

    actions = []
    moves = list(space.shrinks(subnet.architecture))
    for kind, name in NAMES.items():
        starts = [move for move in moves if isinstance(move, kind)]
        if action_set == "paper":
            starts = sorted(starts, key=rank)[:1]
        actions += [_action(name, subnet, start, space, rank, is_enough) for start in starts]
    of_head = [move for move in moves if isinstance(move, NarrowHead)]
    actions += [_action(OF_HEADS[move.option], subnet, move, space, rank, is_enough) for move in of_head]
    return [*actions, *_exchanges(subnet, space)] if action_set == "exchange" else actions


def _action(
    name: ActionName,
    subnet: Subnet,
    start: Move,
    space: SearchSpace,
    rank: Callable[[Move, Subnet], float],
    is_enough: IsEnough,
) -> Action:
    """The move `start`, then moves of the same kind, until that is enough.

    After a contraction or a loss of heads come those of the same block, then the least important others; a narrowed
    stage and an option of a dense head get smaller still.
    """
    result, places = subnet, list[Place]()
    move: Move | None = start
    while move is not None:
        if not isinstance(move, Narrow | NarrowHead):
            stage, origin = _origin(move, result)
            place = stage + 1, subnet.origins[stage].index(origin) + 1
            places += [] if place in places else [place]
        result = result.after(move)
        if is_enough(result):
            break
        ways = [way for way in space.shrinks(result.architecture) if type(way) is type(move)]
        if not isinstance(move, Drop | Swap):
            here = [way for way in ways if _same_place(way, move)]
            ways = here if isinstance(move, Narrow | NarrowHead) else here or ways
        move = min(ways, key=lambda way: rank(way, result), default=None)
    if isinstance(start, NarrowHead):
        return Action(name, None, None, result, into=str(getattr(result.architecture.head, start.option)))
    first = places[0] if places else (start.stage + 1, None)
    into = _into(start, places, result)
    return Action(name, *first, result, further=tuple(places[1:]), into=into)


def _origin(move: Drop | Swap | Contract | PruneHeads, subnet: Subnet) -> Place:
    """The stage and the place in the supernet that a move changes, both counted from 0."""
    return move.stage, subnet.origins[move.stage][move.block]


def _same_place(move: Move, other: Move) -> bool:
    return all(getattr(move, name, None) == getattr(other, name, None) for name in ("stage", "block", "option"))


def _into(move: Move, places: Sequence[Place], result: Subnet) -> str | None:
    """What the blocks at `places` have become; what is not dropped stays where it is."""
    if not isinstance(move, Swap | Contract | PruneHeads):
        return None
    blocks = [result.architecture.stages[stage - 1].blocks[block - 1] for stage, block in places]
    if isinstance(move, Swap):
        return ", ".join(sorted({block.kind for block in blocks}))
    numbers = map(num_heads_of, blocks) if isinstance(move, PruneHeads) else (block.mlp_ratio for block in blocks)
    return _ranges(sorted(set(numbers)))


def _exchanges(subnet: Subnet, space: SearchSpace) -> Iterator[Action]:
    """Narrow one stage and widen another: channels that an earlier step removed can come back."""
    narrower = [move for move in space.shrinks(subnet.architecture) if isinstance(move, Narrow)]
    for narrow in narrower:
        for wider, stage in enumerate(space.stages):
            widen = Narrow(wider, -stage.width_step)
            if wider != narrow.stage and subnet.architecture.widths[wider] - widen.by <= stage.max_width:
                yield Action("exchange", narrow.stage + 1, None, subnet.after(narrow, widen), wider + 1)
