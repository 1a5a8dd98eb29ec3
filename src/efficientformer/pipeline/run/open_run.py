"""Open a run: find its directory, and combine its settings."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from efficientformer.arch.resolution import Resolution
from efficientformer.arch.space_file import space_copy
from efficientformer.arch.zoo import ZOO
from efficientformer.data.hugging_face.name import HubName
from efficientformer.data.shards.urls import parse_addresses
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.values import DENSE_TASKS, TaskName
from efficientformer.latency.devices import DeviceOptions
from efficientformer.paths import HUB, is_address, usable_path
from efficientformer.pipeline.run.budget import parse_budgets
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import (
    Given,
    cores_wanted,
    merge_given,
    notes_on,
    read_recipe,
    read_yaml,
    require_types,
    resolve_settings,
    with_present_names,
    with_texts,
)
from efficientformer.pipeline.run.run_network import name_of_init
from efficientformer.pipeline.run.settings import BELOW_PARENT, Settings, is_path
from efficientformer.pipeline.run.trust.programs import Programs, find_programs, shown_program
from efficientformer.pipeline.run.trust.user_key import KeyUnusableError
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.teacher import NONE
from efficientformer.reading import shown_path
from efficientformer.records import write_record
from efficientformer.run_dir import REMEDY, RunDir
from efficientformer.tasks.layouts import dense_tasks_at
from efficientformer.tasks.teacher_source import TeacherSource
from efficientformer.tasks.words import task_words

_DENSE_PRESETS: dict[TaskName, str] = {"semantic": "segment", "detection": "detect", "instance": "instances"}
"""By task, the preset of `train --init`."""


@dataclass(frozen=True)
class RunRequest:
    """The request of a verb: settings, and the run directory.

    settings: those given. Others come from `config`, the run directory, `base` or the preset.
    run_dir: where everything is written and resumed from; runs/NAME-OF-THE-DATA by default.
    config: a YAML file with further settings, which those given override.
    base: settings of the verb, which all other given settings override.
    suffix: end of the default name of the run directory.
    fine_tunes: whether the verb is `train --init`, which reads none of the settings of a search.
    """

    settings: Settings = Settings()
    run_dir: Path | None = None
    config: Path | None = None
    base: Mapping[str, Any] | None = None
    suffix: str = ""
    fine_tunes: bool = False

    def layers(self) -> "Layers":
        """The run directory, and the given values by where they come from. Raises UsageError."""
        flags = self.settings.model_dump(exclude_unset=True, mode="json")
        for name in ("preset", "space"):
            if is_path(flags.get(name) or ""):
                flags[name] = _absolute(flags[name], name)
        given = merge_given(read_yaml(self.config) if self.config else {}, flags)
        for name in ("data", "supernet_from"):
            if given.get(name) and (name, given[name]) != ("supernet_from", NONE):
                given[name] = _absolute(given[name], name)
        if isinstance(parent := given.get("parent"), dict):
            files = {name: parent[name] for name in ("init", "weights") if isinstance(parent.get(name), str)}
            absolute = {name: _absolute(path, name) for name, path in files.items() if _is_file(path)}
            given["parent"] = parent | absolute
        if isinstance(given.get("train"), dict):
            given["train"] = _with_absolute_paths(given["train"])
        if given.get("reference_weights") not in (None, NONE):
            given["reference_weights"] = _absolute(given["reference_weights"], "reference_weights")
        supernet_from = given.get("supernet_from")
        if supernet_from == NONE:
            supernet_from = given["supernet_from"] = None
        if given.get("data"):
            usable_path(given["data"], "--data")
        source = RunDir(usable_path(supernet_from, "--supernet-from")) if supernet_from else None
        brought = _remembered(source) if source else {}
        root = self.run_dir or self._default_dir(merge_given(self.base or {}, _without_device(brought), given))
        directory = RunDir(usable_path(root, "--run-dir"))
        if source and directory.root.resolve() == source.root.resolve():
            raise UsageError(f"{source.root} cannot take its own supernet. Choose another --run-dir for this run.")
        return Layers(directory, self.base or {}, brought, given)

    def resolved(self) -> Settings:
        """The settings that a verb would use now. Raises UsageError."""
        layers = self.layers()
        return resolve_settings(layers.merged(_remembered(layers.directory)))

    def _default_dir(self, given: Given) -> Path:
        data = resolve_settings(given).data
        return Path("runs") / f"{_name_of(data) if data else 'fashion-mnist-mini'}{self.suffix}"


@dataclass(frozen=True)
class Layers:
    """Given values for the run in `directory`: later fields override earlier ones, and what the directory remembers.

    base: of the verb. brought: of the run whose supernet is taken over, as it is. given: by this command.
    """

    directory: RunDir
    base: Mapping[str, Any]
    brought: Given
    given: Given

    def merged(self, remembered: Given) -> Given:
        """All given values. A supernet from another run never brings a device, by itself or by a recipe of its own."""
        init, before = _init_of(self.given), _init_of(remembered)
        if init not in (None, before) and remembered.get("parent", {}).get("weights"):  # which are of another network
            remembered = merge_given(remembered, {"parent": {"weights": None}})
        brought, own = _without_device(self.brought), merge_given(remembered, self.given)
        if is_path(str(brought.get("preset") or "")) and not own.get("preset"):
            brought |= {name: field.default for name, field in DeviceOptions.model_fields.items()}
        return merge_given(self.base, brought, own)

    def named(self) -> Given:
        """Values given by this command, those of a recipe that it names included."""
        preset = self.given.get("preset")
        return merge_given(read_recipe(preset) if preset else {}, self.given)

    def left_behind(self, settings: Settings) -> str:
        """The device of the run whose supernet is taken over, as options, where this run uses another by default."""
        theirs = {name: self.brought.get(name) for name in DeviceOptions.model_fields if name not in self.given}
        left = {name: value for name, value in theirs.items() if value not in (None, getattr(settings, name))}
        return ", ".join(shown_program(name, value) for name, value in left.items())


def fine_tune_request(init: str, settings: Settings, run_dir: Path | None, config: Path | None) -> RunRequest:
    """The request of `train --init`: preset fine_tune, the resolution of a weights file, which the preset does not
    know, and a run directory of its own by default. For masks the preset is segment and for boxes detect, with a
    resolution of their own unless the weights are for the same task. Raises RecordError for a file that cannot be
    read."""
    request = RunRequest(settings, run_dir, config, suffix=f"-{name_of_init(init)}", fine_tunes=True)
    task = _dense_task(request)
    return replace(
        request, base={"preset": _DENSE_PRESETS[task] if task else "fine_tune", **_resolution_of(init, task)}
    )


def _dense_task(request: RunRequest) -> TaskName | None:
    """The dense task of a run, if it has one, by what is given and remembered. Labels of several are refused
    when they are loaded."""
    layers = request.layers()
    given = layers.merged(_remembered(layers.directory))
    task, data = given.get("task", "auto"), given.get("data")
    if task != "auto" or not data:
        return next((dense for dense in DENSE_TASKS if dense == task), None)
    found = dense_tasks_at(Path(data))
    return found[0] if len(found) == 1 else None


def design_request(settings: Settings, run_dir: Path | None, config: Path | None) -> RunRequest:
    """The request of `design`. With --init, by default the space is that below the parent, and recipe, resolution and
    run directory are as for `train --init`. For masks and boxes, size and batches are those of their recipe. Raises as
    `fine_tune_request` does."""
    init = settings.parent.init or (_init_of(read_yaml(config)) if config else None)
    request = RunRequest(settings, run_dir, config, suffix="" if init is None else f"-from-{name_of_init(init)}")
    task = _dense_task(request)
    if task is not None and (reason := task_words(task).unsearched):
        raise UsageError(reason)
    dense = _dense_design(task) if task else {}
    if init is None:
        return replace(request, base=dense)
    inherited = {"preset": "transfer", "space": BELOW_PARENT, "train": {"init": "supernet"}}
    return replace(request, base=merge_given(dense, inherited, _resolution_of(init, task)))


def _dense_design(task: TaskName) -> Given:
    """What a design for masks or boxes has in place of its recipe's. Such images are not blended, and teachers of such
    a task give logits."""
    recipe = read_recipe(_DENSE_PRESETS[task])
    batches = {"batch_size": recipe["train"]["batch_size"], "label_smoothing": 0.0}
    head = {task: recipe[task]} if task in recipe else {}
    unmixed = {"mixup": 0.0, "cutmix": 0.0, "distillation": "soft"}
    trained = {"train": {**batches, **unmixed}, "supernet": batches, "parent": batches}
    return {"preset": "standard", "resolution": recipe["resolution"], **head, **trained}


def _init_of(given: Given) -> str | None:
    parent = given.get("parent")
    init = parent.get("init") if isinstance(parent, dict) else None
    return init if isinstance(init, str) else None


def _resolution_of(init: str, task: TaskName | None = None) -> dict[str, Resolution]:
    """The resolution of a weights file that says it; with a task, if it is for that task."""
    if init in ZOO or not Path(init).is_file():
        return {}
    from efficientformer.models.weights.load import read_about  # PyTorch, which the help of other verbs does not need

    about = read_about(Path(init))
    resolution = about.get("resolution") if task in (None, about.get("task")) else None
    return {"resolution": resolution} if resolution else {}


@contextlib.contextmanager
def open_run(request: RunRequest) -> Iterator[Workspace]:
    """The run, locked for this process.

    A setting is the one given, else that of the YAML file, else that of earlier calls with this run directory, else
    that of the run whose supernet is taken over, else that of the request's base, else that of the preset.

    Raises UsageError for settings that cannot be used, and for a directory that is in use by another process or has a
    run on other images.
    """
    layers = request.layers()
    directory = layers.directory
    # Of the processes that torchrun starts, only the first locks and writes the directory.
    is_first = os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"
    with directory.locked() if is_first else contextlib.nullcontext():
        remembered = _remembered(directory)
        if request.run_dir is None and remembered and remembered.get("data") != layers.given.get("data"):
            raise UsageError(f"{directory.root} holds a run on {remembered.get('data')}. Choose another --run-dir.")
        given = layers.merged(remembered)
        resolved, console = resolve_settings(given), RunConsole(quiet=not is_first)
        parse_budgets(resolved.budget)
        for note in notes_on(resolved, layers.given, fine_tunes=request.fine_tunes):
            console.warn(note)
        console.warn_of_cores(cores_wanted(resolved, layers.given))
        before = directory.remembered_programs()
        programs = find_programs(resolved, layers.named(), before)
        if left := layers.left_behind(resolved):
            console.say(f"--supernet-from does not bring its device ({left}); this run uses --device {resolved.device}")
        workspace = Workspace(directory, resolved, console, programs)
        if is_first:
            file = space_source(resolved)
            copy = space_copy(file, workspace.named_space) if file else None
            if file and not Path(file).exists():
                console.say(f"{shown_path(file)} is gone; the run uses its copy, {directory.space}")
            signed = _signed(programs, before, console)
            directory.remember_settings(given, resolved.model_dump(mode="json"), signed)
            if copy is not None:
                write_record(directory.space, copy)
        yield workspace


def space_source(settings: Settings) -> str | None:
    """The file that the run has its space from: that of the space, or the weights of the parent; None for a name."""
    if settings.space == BELOW_PARENT:
        return None if settings.parent.init in ZOO else settings.parent.init
    return settings.space if is_path(settings.space) else None


def _signed(programs: Programs, before: Any, console: RunConsole) -> Any:
    """What the directory is to remember of programs. Without a key it is what it remembers already."""
    try:
        return programs.to_remember(before)
    except KeyUnusableError as error:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in programs.accepted)
        console.warn(f"{error} Until then, give {flags} on each command: programs are not remembered without a key.")
        return before


def _without_device(given: Given) -> Given:
    return {name: value for name, value in given.items() if name not in DeviceOptions.model_fields}


def _remembered(run_dir: RunDir) -> Given:
    """Settings that the run was given. Raises RecordError that names the file for those that cannot be used."""
    try:
        given = with_present_names(with_texts(run_dir.given_settings()))
        require_types(given)
    except ValueError as error:
        raise RecordError(f"{shown_path(run_dir.settings)} cannot be used: {error}. {REMEDY}") from error
    return given


def _with_absolute_paths(train: Given) -> Given:
    """Settings of `train` whose files are found from any folder."""
    if train.get("teacher") not in (None, NONE):
        source = TeacherSource.parse(str(train["teacher"]))
        if source.file is not None:
            train = {**train, "teacher": str(replace(source, file=Path(_absolute(str(source.file), "teacher"))))}
    if train.get("unlabelled") not in (None, NONE):
        train = {**train, "unlabelled": _absolute(str(train["unlabelled"]), "unlabelled")}
    return train


def _is_file(value: str) -> bool:
    """Whether --init or --weights is a file, there or gone, instead of a name."""
    path = Path(value).expanduser()
    return value not in ZOO and (path.exists() or bool(path.suffix) or len(path.parts) > 1)


def _name_of(data: str) -> str:
    """The name of a set of images, which its run directory has by default."""
    if data.startswith(HUB):
        return HubName.parse(Path(data)).short
    return parse_addresses(Path(data)).name if is_address(data) else Path(data).name


def _absolute(path: str, name: str) -> str:
    if name == "data" and is_address(path):
        return path
    if name == "data" and path.startswith(HUB):
        return HubName.parse(Path(path)).absolute
    usable = usable_path(path, f"--{name.replace('_', '-')}")
    return os.path.realpath(usable.expanduser())  # Path.resolve fails on a link to itself
