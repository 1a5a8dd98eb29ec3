"""The slimming actions: the paper's three (section 4.2, step 4), and supersets of them. No torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from efficientformer.arch.edits import first_mb3d
from efficientformer.arch.space import SearchSpace
from efficientformer.search.importance import PathProbabilities, block_importances, stage_importances
from efficientformer.search.subnet import Subnet

ActionName = Literal["identity", "remove_mb3d", "narrow", "exchange"]
ActionSet = Literal["paper", "every", "exchange"]
"""What a step may choose from. paper: the least important path, the first MB3D, the least important stage. every: any
path, the first MB3D, any stage. exchange: those, and narrowing one stage while widening another."""
IsEnough = Callable[[Subnet], bool]
"""Whether the result of an action saves enough; until it does, the action continues as long as it can."""
Place = tuple[int, int]
"""A block: its stage and its position in that stage, both counted from 1."""


def once(_: Subnet) -> bool:
    """Every action stops after one block or one width step, as in the paper."""
    return True


@dataclass(frozen=True)
class Action:
    """A way to make the network faster.

    name: the kind of action.
    stage: the stage that it changes, from 1; in an exchange, the stage that loses channels.
    block: position of the changed block in its stage, from 1; None for changes of width.
    result: the subnet after the action.
    wider: the stage that gains channels in an exchange, from 1.
    further: other blocks that are changed like `block` in the same action.
    """

    name: ActionName
    stage: int
    block: int | None
    result: Subnet
    wider: int | None = None
    further: tuple[Place, ...] = ()

    def __str__(self) -> str:
        match self.name:
            case "identity":
                return f"{self._blocks} {'become' if self.further else 'becomes'} identity"
            case "remove_mb3d":
                if self.further:
                    return f"first {1 + len(self.further)} MB3D ({self._blocks}) become MB4D"
                return f"first MB3D (stage {self.stage}, block {self.block}) becomes MB4D"
            case "narrow":
                return f"stage {self.stage} narrows to {self._width(self.stage)}"
            case "exchange":
                assert self.wider is not None
                narrowed, widened = self._width(self.stage), self._width(self.wider)
                return f"stage {self.stage} narrows to {narrowed} and stage {self.wider} widens to {widened}"

    @property
    def _blocks(self) -> str:
        """`block 1 of stage 2, blocks 4-6, 9 of stage 3`."""
        assert self.block is not None
        words = []
        for stage, places in groupby(sorted([(self.stage, self.block), *self.further]), key=lambda place: place[0]):
            blocks = [block for _, block in places]
            words.append(f"block{'s' if len(blocks) > 1 else ''} {_ranges(blocks)} of stage {stage}")
        return ", ".join(words)

    def _width(self, stage: int) -> int:
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
    alphas: Sequence[Sequence[PathProbabilities]],
    space: SearchSpace,
    action_set: ActionSet = "paper",
    is_enough: IsEnough = once,
) -> list[Action]:
    """The actions that a step weighs: at most one of each kind for "paper", all of each kind for the other sets.

    subnet: the network that the step starts from.
    alphas: probabilities of the paths of every supernet block, stage by stage.
    space: the search space, which bounds the widths.
    action_set: which actions are allowed.
    is_enough: when an action stops. Until then it also drops the least important blocks, converts further MB3D, or
        narrows the same stage further. An exchange is always one width step.
    """
    blocks, stages = block_importances(alphas, subnet), stage_importances(alphas, subnet)
    places = [(stage, block) for stage, row in enumerate(blocks, start=1) for block in range(1, len(row) + 1)]
    least_first = sorted(places, key=lambda place: blocks[place[0] - 1][place[1] - 1])
    removable = [place for place in places if len(blocks[place[0] - 1]) > 1]
    narrowable = _narrowable(subnet, space)
    if action_set == "paper":
        removable = [place for place in least_first if place in removable][:1]
        narrowable = sorted(narrowable, key=stages.__getitem__)[:1]
    actions = [
        *(_identity(subnet, place, least_first, is_enough) for place in removable),
        *_remove_mb3d(subnet, space, is_enough),
        *(_narrow(subnet, space, stage_index, is_enough) for stage_index in narrowable),
    ]
    return [*actions, *_exchanges(subnet, space)] if action_set == "exchange" else actions


def _identity(subnet: Subnet, place: Place, least_first: Sequence[Place], is_enough: IsEnough) -> Action:
    """Drop the block at `place`, then the blocks of `least_first` until that is enough.

    The last block of a stage is never dropped: a stage without blocks would be a stage without features.
    """
    gone: list[Place] = []
    result = subnet
    for stage, block in (place, *least_first):
        if (stage, block) not in gone and len(result.origins[stage - 1]) > 1:
            before = sum((stage, earlier) in gone for earlier in range(1, block))
            result = result.drop(stage - 1, block - 1 - before)
            gone.append((stage, block))
            if is_enough(result):
                break
    return Action("identity", *place, result, further=tuple(gone[1:]))


def _remove_mb3d(subnet: Subnet, space: SearchSpace, is_enough: IsEnough) -> Iterator[Action]:
    """Convert the first MB3D, and further ones until that is enough.

    Only the first can be converted: inside a stage every MB3D follows every MB4D.
    """
    converted: list[Place] = []
    result = subnet
    while position := first_mb3d(result.architecture):
        converted.append((position[0] + 1, position[1] + 1))
        result = result.remove_first_mb3d(space.mb4d)
        if is_enough(result):
            break
    if converted:
        yield Action("remove_mb3d", *converted[0], result, further=tuple(converted[1:]))


def _narrowable(subnet: Subnet, space: SearchSpace) -> list[int]:
    """Indices of the stages that are wider than their minimum."""
    widths = zip(subnet.architecture.widths, space.min_widths, strict=True)
    return [stage_index for stage_index, (width, least) in enumerate(widths) if width > least]


def _narrow(subnet: Subnet, space: SearchSpace, stage_index: int, is_enough: IsEnough = once) -> Action:
    result = subnet
    for _ in range(space.min_widths[stage_index], subnet.architecture.widths[stage_index], space.width_step):
        result = result.narrow(stage_index, space.width_step)
        if is_enough(result):
            break
    return Action("narrow", stage_index + 1, None, result)


def _exchanges(subnet: Subnet, space: SearchSpace) -> Iterator[Action]:
    """Narrow one stage and widen another: channels that an earlier step removed can come back."""
    for narrower in (_narrow(subnet, space, stage_index) for stage_index in _narrowable(subnet, space)):
        for wider in range(len(subnet.origins)):
            widths = list(narrower.result.architecture.widths)
            widths[wider] += space.width_step
            if wider != narrower.stage - 1 and widths[wider] <= space.max_widths[wider]:
                result = Subnet.compose(space, tuple(widths), subnet.origins, subnet.architecture.num_mb3d)  # type: ignore[arg-type]
                yield Action("exchange", narrower.stage, None, result, wider + 1)
