"""Open a run: find its directory, and combine its settings."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficientformer.arch.zoo import ZOO
from efficientformer.errors import RecordError, UsageError
from efficientformer.paths import usable_path
from efficientformer.pipeline.run.budget import parse_budgets
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import (
    Given,
    is_path,
    merge_given,
    read_yaml,
    require_types,
    resolve_settings,
    with_present_names,
    with_texts,
)
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import shown_path
from efficientformer.run_dir import RunDir


@dataclass(frozen=True)
class RunRequest:
    """The request of a verb: settings, and the run directory.

    settings: those given. Others come from `config`, the run directory, `base` or the preset.
    run_dir: where everything is written and resumed from; runs/NAME-OF-THE-DATA by default.
    config: a YAML file with further settings, which those given override.
    base: settings of the verb, which all other given settings override.
    suffix: end of the default name of the run directory.
    """

    settings: Settings = Settings()
    run_dir: Path | None = None
    config: Path | None = None
    base: Mapping[str, Any] | None = None
    suffix: str = ""

    def given(self) -> tuple[Given, Given, RunDir]:
        """Values given by the user, values that the remembered settings override, and the run directory."""
        flags = self.settings.model_dump(exclude_unset=True, mode="json")
        for name in ("data", "supernet_from"):
            if flags.get(name):
                flags[name] = _absolute(flags[name], name)
        if is_path(flags.get("preset") or ""):
            flags["preset"] = _absolute(flags["preset"], "preset")
        given = merge_given(read_yaml(self.config) if self.config else {}, flags)
        if given.get("data"):
            usable_path(given["data"], "--data")
        source = RunDir(usable_path(given["supernet_from"], "--supernet-from")) if given.get("supernet_from") else None
        inherited = merge_given(self.base or {}, _remembered(source) if source else {})
        root = self.run_dir or self._default_dir(merge_given(inherited, given))
        directory = RunDir(usable_path(root, "--run-dir"))
        if source and directory.root.resolve() == source.root.resolve():
            raise UsageError(f"{source.root} cannot take its own supernet. Choose another --run-dir for this run.")
        return given, inherited, directory

    def resolved(self) -> Settings:
        """The settings that a verb would use now. Raises UsageError."""
        given, inherited, directory = self.given()
        return resolve_settings(merge_given(inherited, _remembered(directory), given))

    def _default_dir(self, given: Given) -> Path:
        data = resolve_settings(given).data
        return Path("runs") / f"{Path(data).name if data else 'fashion-mnist-mini'}{self.suffix}"


def fine_tune_request(init: str, settings: Settings, run_dir: Path | None, config: Path | None) -> RunRequest:
    """The request of `train --init`: preset fine_tune, and a run directory of its own by default."""
    return RunRequest(settings, run_dir, config, base={"preset": "fine_tune"}, suffix=f"-{name_of_init(init)}")


def name_of_init(init: str) -> str:
    """Name of a network to fine-tune: its published name, or the name of the folder of its weights."""
    if init in ZOO:
        return init
    path = Path(init)
    return path.parent.name if path.stem == "weights" and path.parent.name else path.stem


@contextlib.contextmanager
def open_run(request: RunRequest) -> Iterator[Workspace]:
    """The run, locked for this process.

    A setting is the one given, else that of the YAML file, else that of earlier calls with this run directory, else
    that of the run whose supernet is taken over, else that of the request's base, else that of the preset.

    Raises UsageError for settings that cannot be used, and for a directory that is in use by another process or has a
    run on other images.
    """
    given, inherited, directory = request.given()
    # Of the processes that torchrun starts, only the first locks and writes the directory.
    is_first = os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"
    with directory.locked() if is_first else contextlib.nullcontext():
        remembered = _remembered(directory)
        if request.run_dir is None and remembered and remembered.get("data") != given.get("data"):
            raise UsageError(f"{directory.root} holds a run on {remembered.get('data')}. Choose another --run-dir.")
        given = merge_given(inherited, remembered, given)
        resolved = resolve_settings(given)
        parse_budgets(resolved.budget)
        if is_first:
            directory.remember_settings(given, resolved.model_dump(mode="json"))
        yield Workspace(directory, resolved, RunConsole(quiet=not is_first))


def _remembered(run_dir: RunDir) -> Given:
    """Settings that the run was given. Raises RecordError that names the file for those that cannot be used."""
    try:
        given = with_present_names(with_texts(run_dir.given_settings()))
        require_types(given)
    except ValueError as error:
        raise RecordError(
            f"{shown_path(run_dir.settings)} cannot be used: {error}. Restore it, or choose another --run-dir."
        ) from error
    return given


def _absolute(path: str, name: str) -> str:
    return str(usable_path(path, f"--{name.replace('_', '-')}").expanduser().resolve())
