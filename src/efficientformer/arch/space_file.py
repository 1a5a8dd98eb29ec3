"""A search space as a YAML file: read, refused in one line that names the field, and written."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import TypedDict

from efficientformer.arch.head_space import HeadSpaceRecord
from efficientformer.arch.space import SearchSpace, SpaceRecord
from efficientformer.arch.spaces import SPACES
from efficientformer.arch.stage_space import StageSpaceRecord
from efficientformer.errors import ArchitectureError, RecordError, UsageError
from efficientformer.reading import read_record, read_yaml, shown_path


class SpaceCopy(TypedDict):
    """`space.json` of a run: the space that the run got from `file`. It takes the file's place once that is gone."""

    file: str
    space: dict[str, Any]


def read_space(path: Path) -> SearchSpace:
    """The space in a YAML file; it is named like the file unless it has a `name`. Raises RecordError."""
    content = read_yaml(path)
    try:
        if not isinstance(content, dict):
            raise ValueError(
                "it must hold names and values; 'efficientformer space quick' prints a space to start from"
            )
        _require_known(content)
        space = SearchSpace.from_json({"name": path.stem[:100], **content})
        if not space.name.isprintable():
            raise ValueError(f"name must be printable text, not {space.name!r}")
        if space.name in SPACES and space != SPACES[space.name]:
            raise ValueError(f"name: {space.name!r} is another space already. Give it a name, or rename the file")
    except ValueError as error:
        problem = str(error).removeprefix("Not a search space: ").rstrip(".")
        raise RecordError(f"{shown_path(path)}: {problem}.") from error
    return space


def find_space(file: Path, copies: Iterable[Path] = ()) -> SearchSpace:
    """The space in a file or, where that is gone, in the first of the `copies` that was made of it.

    Raises UsageError for a file that cannot be used, or that is gone without a copy.
    """
    try:
        return (None if file.exists() else copied_space(str(file), copies)) or read_space(file)
    except (RecordError, ArchitectureError) as error:
        raise UsageError(f"--space {error}") from error


def copied_space(file: str, copies: Iterable[Path]) -> SearchSpace | None:
    """The space of the first of the `copies` that was made of this file. Raises RecordError, ArchitectureError."""
    for path in copies:
        copy = read_record(path, SpaceCopy) if path.exists() else None
        if copy is not None and copy["file"] == file:
            return SearchSpace.from_json(copy["space"])
    return None


def space_copy(file: Path | str, space: SearchSpace) -> SpaceCopy:
    return {"file": str(file), "space": space.to_json()}


def as_yaml(space: SearchSpace, *, with_name: bool = True) -> str:
    """The text of a file with the space. Without its name, it will be named like the file."""
    content = space.to_json()
    stages = []
    for stage, fields in zip(space.stages, content["stages"], strict=True):
        fields = {**fields, "blocks": [_short(block) for block in fields["blocks"]]}
        if "largest" in fields:
            # The blocks of a stage have its largest expansion; their kind is enough.
            fields["largest"] = [
                block.kind if block in stage.blocks else record
                for block, record in zip(stage.largest, fields["largest"], strict=True)
            ]
        stages.append(fields)
    name = {"name": space.name} if with_name else {}
    others = {field: value for field, value in content.items() if field not in ("name", "stages")}
    record = {**name, **others, "stages": stages}
    return yaml.safe_dump(record, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def _short(block: dict[str, Any]) -> dict[str, Any] | str:
    """A block by the name of its kind, where it has no options."""
    return block if len(block) > 1 else block["kind"]


def _require_known(content: Mapping[str, Any]) -> None:
    """Raise ValueError for a field that no space has: it may be a misspelled one."""
    _require_fields(content, SpaceRecord.__annotations__, "")
    stages = content.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(stage, dict):
            _require_fields(stage, StageSpaceRecord.__annotations__, f"stages.{index}.")
    if isinstance(head := content.get("head"), dict):
        _require_fields(head, HeadSpaceRecord.__annotations__, "head.")


def _require_fields(content: Mapping[Any, Any], known: Iterable[str], prefix: str) -> None:
    for name in content:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}" if near else f"the fields are {', '.join(known)}"
            shown = name if isinstance(name, str) and name.isprintable() else repr(name)
            raise ValueError(f"{prefix}{shown[:60]} is not a field of a space; {hint}")
