"""Networks in records: `32-48-240-240 / 1-4-4-1 / 1` is widths / depths / number of blocks with attention.

The search space gives the rest, so a network takes a few bytes instead of a kilobyte.
"""

from typing import Any

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import ArchitectureError

KEY = "architecture"


def to_compact(architecture: Architecture) -> str:
    widths, depths = (
        "-".join(str(getattr(stage, name)) for stage in architecture.stages) for name in ("width", "depth")
    )
    return f"{widths} / {depths} / {architecture.num_attending}"


def from_compact(text: str, space: SearchSpace) -> Architecture:
    """Inverse of `to_compact` for networks of the space. Raises ArchitectureError on anything else."""
    try:
        widths, depths, attending = (tuple(map(int, part.split("-"))) for part in text.split(" / "))
        return space.build(widths, depths, *attending)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ArchitectureError(f"{text!r} is not widths / depths / number of attention blocks.") from error


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
    architecture = Architecture.from_json(value)
    text = to_compact(architecture)
    return text if from_compact(text, space) == architecture else value
