"""Verb `space`."""

from pathlib import Path

from efficientformer.arch.space import SearchSpace
from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines, print_rows


def space(name: str | None = None, /, *, json: JsonOption = False) -> None:
    """List the search spaces, or print one as a file to start your own from.

    A file of your own is given to any verb with --space. docs/spaces.md describes it.

    For example:

        efficientformer space
        efficientformer space standard > mine.yaml
        efficientformer space mine.yaml --json

    Parameters
    ----------
    name: str | None
        Name of a space, or a file to check.
    json: bool
        Print one JSON document: every named space, or the one asked for.
    """
    from efficientformer.arch.space_file import as_yaml, find_space
    from efficientformer.arch.spaces import SPACES
    from efficientformer.pipeline.run.resolve_settings import check_settings
    from efficientformer.pipeline.run.settings import Settings

    named = {str(key): value for key, value in SPACES.items()}
    if name is None and json:
        print_json({key: value.to_json() for key, value in named.items()})
        return
    if name is None:
        columns = ("space", "widths", "depths", "blocks")
        print_rows(columns, [(key, *_cells(value)) for key, value in named.items()])
        return
    check_settings(Settings, {"space": name})
    found = named.get(name) or find_space(Path(name))
    if json:
        print_json(found.to_json())
        return
    print_lines(as_yaml(found, with_name=False).splitlines())


def _cells(space: SearchSpace) -> tuple[str, str, str]:
    widths = ", ".join(f"{stage.min_width}-{stage.max_width}" for stage in space.stages)
    kinds = dict.fromkeys(block.kind for stage in reversed(space.stages) for block in stage.blocks)
    return widths, "-".join(map(str, space.max_depths)), ", ".join(kinds)
