"""What the verbs share: where the run lives, and how its settings come together."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.pipeline.budget import parse_budgets
from efficientformer.pipeline.console import RunConsole
from efficientformer.pipeline.run_dir import RunDir
from efficientformer.pipeline.settings import Settings, merge_given, read_yaml, resolve_settings
from efficientformer.pipeline.workspace import Workspace

RunDirOption = Annotated[Path | None, Parameter(name=("--run-dir", "--out"))]
"""The run directory; runs/NAME-OF-THE-DATA by default."""

ConfigOption = Annotated[Path | None, Parameter(name="--config")]
JsonOption = Annotated[bool, Parameter(name="--json", negative=())]
SettingsOption = Annotated[Settings, Parameter(name="*", negative_iterable=())]


@contextlib.contextmanager
def open_workspace(
    run_dir: Path | None, config: Path | None, settings: Settings, *, quiet: bool = False
) -> Iterator[Workspace]:
    """The run, locked for this process: settings from flags, else YAML, else what the run was given before."""
    flags = settings.model_dump(exclude_unset=True, mode="json")
    given = merge_given(read_yaml(config) if config else {}, flags)
    directory = RunDir(run_dir or default_run_dir(resolve_settings(given)))
    with directory.locked():
        given = merge_given(directory.given_settings(), given)
        resolved = resolve_settings(given)
        parse_budgets(resolved.budget)
        directory.remember_settings(given, resolved.model_dump(mode="json"))
        yield Workspace(directory, resolved, RunConsole(quiet=quiet))


def default_run_dir(settings: Settings) -> Path:
    name = Path(settings.data).expanduser().resolve().name if settings.data else "fashion-mnist-mini"
    return Path("runs") / name


def run_phases(
    run_dir: Path | None,
    config: Path | None,
    settings: Settings,
    phases: Callable[[Workspace], Any],
    *,
    as_json: bool,
    show: Callable[[Workspace], Any],
) -> None:
    """Run `phases`; with --json print what `show` reads from the records as one document."""
    with open_workspace(run_dir, config, settings) as workspace:
        phases(workspace)
        if as_json:
            print_json(show(workspace))


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
