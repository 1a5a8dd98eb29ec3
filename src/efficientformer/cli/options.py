"""What the verbs share: where the run lives, and how its settings come together."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.errors import UsageError
from efficientformer.latency.devices import DeviceOptions
from efficientformer.pipeline.run.budget import parse_budgets
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import merge_given, read_yaml, resolve_settings
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """What every verb of a run takes beside the settings."""

    run_dir: Annotated[Path | None, Parameter(name=("--run-dir", "--out"))] = None
    """Where everything is written and resumed from; runs/NAME-OF-THE-DATA by default."""
    config: Annotated[Path | None, Parameter(name="--config")] = None
    """YAML file with settings, such as 'train: {epochs: 30}'; flags win over it."""
    json: Annotated[bool, Parameter(name="--json", negative=())] = False
    """End with one JSON document on standard output."""


JsonOption = Annotated[bool, Parameter(name="--json", negative=())]
DeviceOption = Annotated[DeviceOptions, Parameter(name="*")]
SettingsOption = Annotated[Settings, Parameter(name="*", negative_iterable=())]


@contextlib.contextmanager
def open_workspace(
    options: RunOptions, settings: Settings, *, base: Mapping[str, Any] | None = None, suffix: str = ""
) -> Iterator[Workspace]:
    """The run, locked for this process: settings from flags, else YAML, else what the run was given before, else the
    settings of the run whose supernet it takes, else `base`. `suffix` ends the name of a run directory nobody named."""
    flags = settings.model_dump(exclude_unset=True, mode="json")
    for name in ("data", "supernet_from"):
        if flags.get(name):
            flags[name] = str(Path(flags[name]).expanduser().resolve())
    given = merge_given(read_yaml(options.config) if options.config else {}, flags)
    source = RunDir(Path(given["supernet_from"])) if given.get("supernet_from") else None
    inherited = merge_given(dict(base or {}), source.given_settings() if source else {})
    directory = RunDir(options.run_dir or default_run_dir(resolve_settings(merge_given(inherited, given)), suffix))
    if source and directory.root.resolve() == source.root.resolve():
        raise UsageError(f"{source.root} cannot take its own supernet. Choose another --run-dir for this run.")
    # Of several processes that torchrun started, the first one keeps the directory.
    is_first = os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"
    with directory.locked() if is_first else contextlib.nullcontext():
        remembered = directory.given_settings()
        if options.run_dir is None and remembered and remembered.get("data") != given.get("data"):
            raise UsageError(f"{directory.root} holds a run on {remembered.get('data')}. Choose another --run-dir.")
        given = merge_given(inherited, remembered, given)
        resolved = resolve_settings(given)
        parse_budgets(resolved.budget)
        if is_first:
            directory.remember_settings(given, resolved.model_dump(mode="json"))
        yield Workspace(directory, resolved, RunConsole(quiet=not is_first))


def default_run_dir(settings: Settings, suffix: str = "") -> Path:
    name = Path(settings.data).name if settings.data else "fashion-mnist-mini"
    return Path("runs") / f"{name}{suffix}"


def run_phase(
    options: RunOptions, settings: Settings, phase: Callable[[Workspace], Any], *, show: Callable[[Workspace], Any]
) -> Any:
    """Run one phase and return its outcome; with --json print what `show` reads from the records as one document."""
    with open_workspace(options, settings) as workspace:
        outcome = phase(workspace)
        if options.json and workspace.world.is_first:
            print_json(show(workspace))
    return outcome


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
