"""Verb `space`."""

from pathlib import Path

from efficientformer.arch.space import SearchSpace
from efficientformer.cli.printing import print_lines, print_rows


def space(name: str | None = None, /) -> None:
    """List the search spaces, or print one as a file to start your own from.

    A file of your own is given to any verb with --space. docs/spaces.md describes it.

    For example:

        efficientformer space
        efficientformer space standard > mine.yaml
        efficientformer space mine.yaml

    Parameters
    ----------
    name: str | None
        Name of a space, or a file to check.
    """
    from efficientformer.arch.space_file import as_yaml, find_space
    from efficientformer.arch.spaces import SPACES
    from efficientformer.pipeline.run.resolve_settings import check_settings
    from efficientformer.pipeline.run.settings import Settings

    named = {str(key): value for key, value in SPACES.items()}
    if name is None:
        columns = ("space", "widths", "depths", "blocks")
        print_rows(columns, [(key, *_cells(value)) for key, value in named.items()])
        return
    check_settings(Settings, {"space": name})
    found = named.get(name) or find_space(Path(name))
    print_lines(as_yaml(found, with_name=False).splitlines())


def _cells(space: SearchSpace) -> tuple[str, str, str]:
    widths = ", ".join(f"{stage.min_width}-{stage.max_width}" for stage in space.stages)
    kinds = dict.fromkeys(block.kind for stage in reversed(space.stages) for block in stage.blocks)
    return widths, "-".join(map(str, space.max_depths)), ", ".join(kinds)
