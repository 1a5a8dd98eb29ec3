"""The size of a network's input: one side of a square, or height and width."""

import re
from collections.abc import Sequence
from typing import Any

Grid = tuple[int, int]
"""Height and width, of an image or a map."""
Resolution = int | Grid
"""In records a side or [height, width]; on the command line `160` or `96x160`, height first."""


def grid_of_input(resolution: int | Sequence[int]) -> Grid:
    """Height and width."""
    return (resolution, resolution) if isinstance(resolution, int) else (resolution[0], resolution[1])


def resolution_of(value: Any, least: int = 1, most: int = 4096) -> Resolution:
    """A resolution from a setting or a record. A square is its side, however it is written. Raises ValueError."""
    sides = value
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,6}\s*(?:[xX]\s*\d{1,6}\s*)?", value):
        sides = [int(side) for side in re.split("[xX]", value)]
    sides = list(sides) if isinstance(sides, list | tuple) else [sides]
    if not 1 <= len(sides) <= 2 or not all(type(side) is int and least <= side <= most for side in sides):
        raise ValueError(
            f"must be a side in pixels, or height and width such as 96x160, from {least} to {most}, "
            f"not {str(value)[:60]!r}"
        )
    return sides[0] if len(set(sides)) == 1 else (sides[0], sides[1])


def resolution_text(resolution: int | Sequence[int]) -> str:
    """`160` or `96x160`."""
    return "x".join(map(str, dict.fromkeys(grid_of_input(resolution))))
