"""Widths that save no time: runtimes work in groups of channels, so a narrower block may be no faster."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import Part
from efficientformer.latency.tables.entries import Entry, families

UNREWARDED = 0.5
"""A step: narrowing saves less than this share of the expected saving, beyond noise."""


@dataclass(frozen=True)
class Step:
    """A block of the family whose narrowing from `wide` to `narrow` channels saves too little, beyond noise."""

    family: str
    narrow: int
    wide: int
    narrow_ms: float
    wide_ms: float

    @property
    def is_slower(self) -> bool:
        """Whether the narrower block takes as long as the wider one, or longer."""
        return self.narrow_ms >= self.wide_ms

    def __str__(self) -> str:
        if self.wide_ms <= 0:  # mostly noise
            return f"{self.family}: {self.wide} and {self.narrow} channels take no measurable time"
        saved = 100 * (1 - self.narrow_ms / self.wide_ms)
        return f"{self.family}: {self.wide} to {self.narrow} channels saves {saved:.0f} % of {self.wide_ms:.3f} ms"


def find_steps(entries: Mapping[Part, Entry]) -> tuple[Step, ...]:
    """Steps between neighboring measured widths of every family of blocks.

    The expected saving is proportional to the MACs saved, at the family's average cost per MAC between its narrowest
    and widest block; the constant cost of a block cannot be saved.
    """
    steps = []
    for members in families(entries).values():
        parts = sorted(members, key=lambda part: part.width)
        if parts[0].block is None or len(parts) < 3:
            continue
        first, last = parts[0], parts[-1]
        if _macs(first) == _macs(last):
            continue
        ms_per_mac = (members[last].latency_ms - members[first].latency_ms) / (_macs(last) - _macs(first))
        for narrow, wide in itertools.pairwise(parts):
            saved_at_most_ms = members[wide].interval_ms[1] - members[narrow].interval_ms[0]
            if saved_at_most_ms < UNREWARDED * ms_per_mac * (_macs(wide) - _macs(narrow)):
                narrow_ms, wide_ms = members[narrow].latency_ms, members[wide].latency_ms
                steps.append(Step(narrow.family, narrow.width, wide.width, narrow_ms, wide_ms))
    return tuple(steps)


def fast_widths(widths: Sequence[int], steps: Sequence[Step], families: Sequence[str]) -> list[int]:
    """The widths of a stage, except those at which a block of these families is no faster than a wider one."""
    wasteful = {step.narrow for step in steps if step.family in families and step.is_slower}
    return [width for width in widths if width not in wasteful]


def _macs(part: Part) -> int:
    return part_cost(part).macs
