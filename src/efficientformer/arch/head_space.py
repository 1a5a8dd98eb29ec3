"""What the dense head of a search space may be: its kind, and the choices for each of its options."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from random import Random
from typing import Annotated, Any, NotRequired, get_args

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.arch.dense import SEARCHED_HEADS, WIDTH_STEP, DenseHead, SearchedHead, SearchedKind
from efficientformer.errors import ArchitectureError

LEAST_WIDTH = 16
"""Channels below which no head of a task is narrowed."""


@dataclass(frozen=True)
class HeadSpace:
    """Heads of one kind. Of every option the choices, largest first; only a kind with a depth has choices for it.

    Raises ArchitectureError for choices in another order, and for a head that cannot be.
    """

    kind: SearchedKind
    fpn_width: tuple[int, ...]
    width: tuple[int, ...]
    depth: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(SearchedKind):
            raise ArchitectureError(f"kind is one of {', '.join(get_args(SearchedKind))}, not {str(self.kind)[:60]!r}.")
        if self.depth and "depth" not in self.options:
            raise ArchitectureError(f"depth is no option of {self.kind}.")
        for name, choices in self.options.items():
            if not choices or list(choices) != sorted(set(choices), reverse=True):
                raise ArchitectureError(f"{name} must be choices in descending order, not {list(choices)}.")
            for choice in choices:
                SEARCHED_HEADS[self.kind](**{name: choice})

    @property
    def options(self) -> Mapping[str, tuple[int, ...]]:
        """The choices of every option, largest first."""
        return {field.name: getattr(self, field.name) for field in fields(SEARCHED_HEADS[self.kind])}

    @property
    def has_choice(self) -> bool:
        return any(len(choices) > 1 for choices in self.options.values())

    def largest(self) -> SearchedHead:
        return SEARCHED_HEADS[self.kind](**{name: choices[0] for name, choices in self.options.items()})

    def smallest(self) -> SearchedHead:
        return SEARCHED_HEADS[self.kind](**{name: choices[-1] for name, choices in self.options.items()})

    def every(self) -> Iterator[SearchedHead]:
        """All heads of the space, the largest first."""
        for values in product(*self.options.values()):
            yield SEARCHED_HEADS[self.kind](**dict(zip(self.options, values, strict=True)))

    def holds(self, head: DenseHead | None) -> bool:
        """Whether the head is one of these."""
        return (
            head is not None
            and head.kind == self.kind
            and all(getattr(head, name) in choices for name, choices in self.options.items())
        )

    def shrinks(self, head: DenseHead) -> Iterator[tuple[str, int]]:
        """Every option that can be made smaller, and its next smaller choice."""
        for name, choices in self.options.items():
            if smaller := [choice for choice in choices if choice < getattr(head, name)]:
                yield name, smaller[0]

    def random(self, rng: Random) -> SearchedHead:
        """A head drawn uniformly over the choices. No random number is spent where there is no choice."""
        drawn = {name: rng.choice(own) if len(own) > 1 else max(own) for name, own in self.options.items()}
        return SEARCHED_HEADS[self.kind](**drawn)

    def mutant(self, head: DenseHead, rng: Random) -> DenseHead:
        """The head with another choice for one of its options that have one."""
        name, choices = rng.choice([(name, own) for name, own in self.options.items() if len(own) > 1])
        others = [choice for choice in choices if choice != getattr(head, name)]
        return replace(head, **{name: rng.choice(others)})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value, as in a space's file: an option without a choice is its number."""
        written = {name: list(own) if len(own) > 1 else max(own) for name, own in self.options.items()}
        return {"kind": self.kind, **written}

    @classmethod
    def of(cls, head: SearchedHead) -> "HeadSpace":
        """The space of this head alone."""
        return cls(head.kind, **{field.name: (getattr(head, field.name),) for field in fields(head)})

    @classmethod
    def below(cls, head: SearchedHead) -> "HeadSpace":
        """The heads that narrowing this one reaches: with its widths, half and a quarter of them, at least 16 channels,
        and any smaller depth."""
        options: dict[str, tuple[int, ...]] = {}
        for name, largest in ((field.name, getattr(head, field.name)) for field in fields(head)):
            smaller = (max(LEAST_WIDTH, largest // share // WIDTH_STEP * WIDTH_STEP) for share in (2, 4))
            widths = sorted({largest, *(width for width in smaller if width < largest)}, reverse=True)
            options[name] = tuple(range(largest, 0, -1)) if name == "depth" else tuple(widths)
        return cls(head.kind, **options)

    @classmethod
    def from_json(cls, record: "HeadSpaceRecord") -> "HeadSpace":
        """Inverse of `to_json`; what is missing is at its default. Raises ArchitectureError."""
        own, options = cls.of(SEARCHED_HEADS[record["kind"]]()), dict[str, tuple[int, ...]]()
        for name in ("fpn_width", "width", "depth"):
            choices = record.get(name, getattr(own, name))
            options[name] = (choices,) if isinstance(choices, int) else tuple(choices)
        return cls(record["kind"], **options)


Choices = Annotated[int, Field(ge=1)] | Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=16)]


class HeadSpaceRecord(TypedDict):
    """The head of a search space; of every option a number, or a list of choices, largest first."""

    kind: SearchedKind
    fpn_width: NotRequired[Choices]
    width: NotRequired[Choices]
    depth: NotRequired[Choices]
