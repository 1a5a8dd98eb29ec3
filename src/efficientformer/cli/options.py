"""Options of several verbs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.cli.printing import print_json
from efficientformer.latency.devices import DeviceOptions
from efficientformer.pipeline.run.settings import Settings

SHORT_FLAGS = {f"--{name}": f"--train.{name}" for name in ("teacher", "distillation", "unlabelled")}
"""Flags of `train` and `design` with a shorter name."""


def with_full_names(arguments: Sequence[str]) -> list[str]:
    """Arguments of a command line with the settings' own names in place of short ones."""
    if not arguments or arguments[0] not in ("train", "design"):
        return list(arguments)
    flags = [argument.partition("=") for argument in arguments]
    return ["".join((SHORT_FLAGS.get(flag, flag), *value)) for flag, *value in flags]


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Options of every verb of a run in addition to its settings."""

    run_dir: Annotated[Path | None, Parameter(name=("--run-dir", "--out"))] = None
    """Folder of the run; runs/DATA by default. It is written there, and resumes from there."""
    config: Annotated[Path | None, Parameter(name="--config")] = None
    """YAML file with settings. Such as 'train: {epochs: 30}'; flags override it."""
    json: Annotated[bool, Parameter(name="--json", negative=())] = False
    """End with one JSON document on stdout."""

    @property
    def place(self) -> dict[str, Path | None]:
        """Arguments for the functions of `pipeline.verbs`."""
        return {"run_dir": self.run_dir, "config": self.config}

    def show(self, record: Any) -> None:
        """Print the record if --json is given and this process has one."""
        if self.json and record is not None:
            print_json(record)


JsonOption = Annotated[bool, Parameter(name="--json", negative=())]
OutOption = Annotated[Path, Parameter(name=("--out", "--run-dir"))]
DeviceOption = Annotated[DeviceOptions, Parameter(name="*")]
SettingsOption = Annotated[Settings, Parameter(name="*", negative_iterable=())]
