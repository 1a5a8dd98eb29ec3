"""Networks in records: `32-48-240-240 / 1-4-4-1 / 1` is widths / depths / number of blocks with attention.

The search space gives the rest, so a network takes a few bytes instead of a kilobyte.
"""

import string
from collections.abc import Iterator, Sequence
from typing import Any

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture, Block, Stage
from efficientformer.errors import ArchitectureError

KEY = "architecture"
LETTERS = string.ascii_letters


def to_compact(architecture: Architecture, space: SearchSpace) -> str | None:
    """The shortest form from which `from_compact` makes the network again; None for networks outside the space."""
    candidates = [stage.candidates for stage in space.stages]
    for text in (_counted(architecture), _lettered(architecture, candidates)):
        try:
            if text is not None and from_compact(text, space) == architecture:
                return text
        except ArchitectureError:
            continue
    return None


def _lettered(architecture: Architecture, candidates: Sequence[Sequence[Block]]) -> str | None:
    """`32-48-96-128 / aa-bd-hga-h`: widths / the blocks of each stage, by their place among the stage's candidates."""
    letters = []
    for stage, known in zip(architecture.stages, candidates, strict=True):
        if not set(stage.blocks) <= set(known):
            return None
        letters.append("".join(LETTERS[known.index(block)] for block in stage.blocks))
    return f"{'-'.join(map(str, architecture.widths))} / {'-'.join(letters)}"


def _counted(architecture: Architecture) -> str:
    widths, depths = (
        "-".join(str(getattr(stage, name)) for stage in architecture.stages) for name in ("width", "depth")
    )
    return f"{widths} / {depths} / {architecture.num_attending}"


def from_compact(text: str, space: SearchSpace) -> Architecture:
    """Inverse of `to_compact` for networks of the space. Raises ArchitectureError on anything else."""
    try:
        widths, *others = text.split(" / ")
        if len(others) == 1:
            named = zip(space.stages, widths.split("-"), others[0].split("-"), strict=True)
            stages = [Stage(int(width), tuple(_named(letters, stage.candidates))) for stage, width, letters in named]
            return space.network(stages)
        widths, depths, attending = (tuple(map(int, part.split("-"))) for part in (widths, *others))
        return space.build(widths, depths, *attending)  # type: ignore[arg-type]
    except (TypeError, ValueError, IndexError) as error:
        raise ArchitectureError(f"{text!r} is not widths / depths / number of attention blocks.") from error


def _named(letters: str, candidates: Sequence[Block]) -> Iterator[Block]:
    return (candidates[LETTERS.index(letter)] for letter in letters)


def compacted(content: Any, space: SearchSpace) -> Any:
    """JSON content with every network of the space in its short form; other networks stay as they are."""
    if isinstance(content, list | tuple):
        return [compacted(value, space) for value in content]
    if isinstance(content, dict):
        return {key: _short(value, space) if key == KEY else compacted(value, space) for key, value in content.items()}
    return content


def expanded(content: Any, space: SearchSpace) -> Any:
    """Inverse of `compacted`."""
    if isinstance(content, list):
        return [expanded(value, space) for value in content]
    if not isinstance(content, dict):
        return content
    return {
        key: from_compact(value, space).to_json() if key == KEY and isinstance(value, str) else expanded(value, space)
        for key, value in content.items()
    }


def _short(value: Any, space: SearchSpace) -> Any:
    if not isinstance(value, dict) or "stages" not in value:
        return compacted(value, space)
    return to_compact(Architecture.from_json(value), space) or value
