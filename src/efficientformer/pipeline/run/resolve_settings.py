"""Combine settings: given values override those of a recipe.

A setting comes from the command line, else from a YAML file, else from earlier calls with the run directory, else from
the recipe, else from its default. Unknown names, wrong types and settings that contradict one another are refused; a
schedule of the recipe that does not fit the epochs given is shortened.
"""

import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from efficientformer import reading
from efficientformer.arch.space_file import read_space
from efficientformer.arch.spaces import SPACES
from efficientformer.errors import RecordError, UsageError
from efficientformer.latency.devices import runs_here
from efficientformer.pipeline.run.settings import BELOW_PARENT, Settings, is_path, leaves
from efficientformer.pipeline.settings.teacher import OF_TEACHER
from efficientformer.pipeline.settings.training import OF_METAPATHS, OF_SLIMMABLE, OptimizerSettings
from efficientformer.reading import shown_path

Given = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)
RENAMED = {("slim", "judge"): "metric"}
"""Settings of earlier versions, which a run directory may have, and their present names."""


def preset_names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("efficientformer") / "recipes"
    names = [Path(file.name) for file in folder.iterdir()]
    return sorted(name.stem for name in names if name.suffix == ".yaml")


def read_recipe(preset: str) -> Given:
    """Given values of a preset: the name of a recipe, or the path of a YAML file. Raises UsageError."""
    if preset in preset_names():
        text = (resources.files("efficientformer") / "recipes" / f"{preset}.yaml").read_text(encoding="utf-8")
        return reading.parse_yaml(text)
    if not is_path(preset):
        raise UsageError(
            f"There is no preset {preset!r}; choose one of {', '.join(preset_names())}, or give the path of a recipe "
            "such as mine.yaml."
        )
    recipe = read_yaml(Path(preset), "--preset")
    if "preset" in recipe:
        raise UsageError(f"--preset {preset} has a preset of its own. Copy the values of that recipe instead.")
    return recipe


def merge_given(*layers: Mapping[str, Any]) -> Given:
    """Given values of all layers; later layers override earlier ones."""
    given: Given = {}
    for layer in layers:
        given = _merge(given, layer)
    return given


def resolve_settings(given: Mapping[str, Any]) -> Settings:
    """Settings of the given values, of the recipe that they name, and of the defaults, in this order.

    The default preset is `quick` for the shipped sample and `standard` for a folder of images. Raises UsageError.
    """
    preset = given.get("preset") or ("standard" if given.get("data") else "quick")
    values = _merge(read_recipe(preset), {**given, "preset": preset})
    if preset == "quick" and values.get("data") and "resolution" not in values:
        values["resolution"] = 64
    settings = check_settings(Settings, values)
    if settings.train.unlabelled and not settings.train.teacher:
        raise UsageError(
            "--unlabelled photographs are learned from a teacher alone: name one with --teacher, or leave them out "
            "with --unlabelled none."
        )
    shortened = _shortened_schedules(settings, given)
    return check_settings(Settings, _merge(values, shortened)) if shortened else settings


def notes_on(settings: Settings, given: Mapping[str, Any], *, fine_tunes: bool = False) -> list[str]:
    """A sentence on each setting of `given` without effect, and on each value that is not the one asked for.

    settings: what `resolve_settings` made of all given values.
    given: those of one call: what an earlier one gave is not said again.
    fine_tunes: whether the call is `train --init`.
    """
    recipe = check_settings(Settings, read_recipe(settings.preset))
    notes = []
    for group in ("supernet", "parent", "train"):
        for name in SCHEDULE:
            before, now = getattr(getattr(recipe, group), name, 0.0), getattr(getattr(settings, group), name, 0.0)
            if _is_given(given, f"{group}.epochs") and not _is_given(given, f"{group}.{name}") and now != before:
                notes.append(
                    f"{group}.{name} is {now:g} instead of the preset's {before:g}, which does not fit in "
                    f"{group}.epochs {getattr(settings, group).epochs}"
                )
    for name, because, is_idle in IDLE:
        if _is_given(given, name) and is_idle(settings, fine_tunes):
            notes.append(f"{name} has no effect: {because}")
    if given.get("percentile") == "p90" and settings.clock is None and settings.latency_clock == "cpu":
        notes.append("percentile p90 is of CPU time, which leaves out all waiting; --clock wall counts it")
    return notes


def cores_wanted(settings: Settings, given: Mapping[str, Any]) -> dict[str, int]:
    """Threads and processes that a call asks for on this machine, by setting."""
    counts = {
        "threads": settings.threads if runs_here(settings.device) else 1,
        "training_threads": settings.training_threads or 1,
        "training_processes": settings.training_processes,
        "workers": settings.workers,
        "slim.workers": settings.slim.workers,
    }
    return {name: count for name, count in counts.items() if _is_given(given, name)}


def _is_given(given: Mapping[str, Any], name: str) -> bool:
    """Whether a setting, by its dotted name, is among given values."""
    group, _, leaf = name.rpartition(".")
    return leaf in (given.get(group, {}) if group else given)


SCHEDULE = ("frozen_epochs", "lr_warmup_epochs")
"""The parts of a training before its learning rate decays, in this order."""


def _shortened_schedules(settings: Settings, given: Mapping[str, Any]) -> Given:
    """Parts of schedules that come from the recipe, shortened like its epochs, where they do not fit those given.

    Raises UsageError where the parts given leave no epoch in which the learning rate decays, unless they ask for
    epochs of the head alone.
    """
    recipe = check_settings(Settings, read_recipe(settings.preset))
    shortened: Given = {}
    for group in ("supernet", "parent", "train"):
        now, planned, own = getattr(settings, group), getattr(recipe, group), given.get(group, {})
        parts = {name: getattr(now, name) for name in SCHEDULE if hasattr(now, name)}
        is_of_head = parts.get("frozen_epochs") == now.epochs and ("frozen_epochs" in own or "epochs" not in own)
        if is_of_head or not now.epochs or sum(parts.values()) < now.epochs:
            continue
        if "epochs" in own:
            short = {name: value * now.epochs / planned.epochs for name, value in parts.items() if name not in own}
            shortened[group] = {name: value for name, value in short.items() if value != parts[name]}
            parts |= short
        if sum(parts.values()) >= now.epochs:
            named = " and ".join(f"{group}.{name} {value:g}" for name, value in parts.items() if value)
            raise UsageError(
                f"Settings that cannot be used: {named} leave none of {group}.epochs {now.epochs} in which the "
                "learning rate decays. Use more epochs, or shorten them."
            )
    return {group: values for group, values in shortened.items() if values}


def _is_v2(settings: Settings) -> bool | None:
    """Whether the space is of EfficientFormerV2; None for a file that cannot be read, as is said where it is used."""
    if settings.space == BELOW_PARENT:
        return None
    named = {str(name): space for name, space in SPACES.items()}.get(settings.space)
    try:
        return (named or read_space(Path(settings.space))).is_v2
    except RecordError:
        return None


def _draws_evenly(settings: Settings) -> bool:
    return settings.supernet.sampling == "even" and not _is_v2(settings)


Idle = Callable[[Settings, bool], bool]
IDLE_RATES: tuple[tuple[str, str, Callable[[OptimizerSettings], bool]], ...] = (
    ("lr_final", "schedule steps has none", lambda now: now.schedule == "steps"),
    ("lr_warmup_from", "there is no warm-up, lr_warmup_epochs is 0", lambda now: not now.lr_warmup_epochs),
    ("clip_norm", "agc clips in its place", lambda now: now.agc > 0),
)
"""Settings of a training that others of it leave without effect."""
NO_METAPATHS = "the supernet of an EfficientFormerV2 space has no paths: its steps train whole networks"
IDLE: tuple[tuple[str, str, Idle], ...] = (
    *(
        (
            name,
            "design --init slims a trained network in place of a supernet",
            lambda now, _: now.parent.init is not None,
        )
        for name in leaves("supernet")
        if name != "supernet.held_out"
    ),
    *(
        (name, "there is no parent: design --init names one", lambda now, _: now.parent.init is None)
        for name in leaves("parent")
        if name != "parent.init"
    ),
    *(
        (f"supernet.{name}", "it is of EfficientFormerV2 spaces", lambda now, _: _is_v2(now) is False)
        for name in OF_SLIMMABLE
    ),
    *((f"supernet.{name}", NO_METAPATHS, lambda now, _: bool(_is_v2(now))) for name in OF_METAPATHS),
    ("supernet.noise", "supernet.sampling even has none", lambda now, _: _draws_evenly(now)),
    ("supernet.temperature", "supernet.sampling even has none", lambda now, _: _draws_evenly(now)),
    *(
        (f"{group}.{name}", because, lambda now, _, group=group, is_idle=is_idle: is_idle(getattr(now, group)))
        for group in ("supernet", "parent", "train")
        for name, because, is_idle in IDLE_RATES
    ),
    ("slim.recover_steps", "slim.recover_every is 0", lambda now, _: not now.slim.recover_every),
    ("slim.recover_lr", "slim.recover_every is 0", lambda now, _: not now.slim.recover_every),
    (
        "parent.round_lr",
        "parent.round_epochs is 0",
        lambda now, _: now.parent.init is not None and not now.parent.round_epochs,
    ),
    (
        "parent.elastic_lr",
        "parent.elastic_epochs is 0",
        lambda now, _: now.parent.init is not None and not now.parent.elastic_epochs,
    ),
    (
        "slim.channels",
        "with parent.elastic_epochs the important ones come first",
        lambda now, _: now.parent.is_elastic and now.slim.channels == "first",
    ),
    ("slim.trials", "one network is compared with none; ask for 2 or more", lambda now, _: now.slim.trials == 1),
    ("slim.trial_epochs", "slim.trials is 0", lambda now, _: not now.slim.trials),
    ("train.init", "train --init names what to start from", lambda _, fine_tunes: fine_tunes),
    (
        "train.frozen_epochs",
        "it is for weights that were trained before, by train --init or --train.init supernet; new ones stay random",
        lambda now, fine_tunes: bool(now.train.frozen_epochs) and now.train.init == "scratch" and not fine_tunes,
    ),
    (
        "train.lr_warmup_epochs",
        "train.frozen_epochs is all of train.epochs",
        lambda now, _: bool(now.train.lr_warmup_epochs) and now.train.frozen_epochs == now.train.epochs,
    ),
    *((f"train.{name}", "there is no train.teacher", lambda now, _: not now.train.teacher) for name in OF_TEACHER),
    (
        "train.temperature",
        "train.distillation hard has none",
        lambda now, _: bool(now.train.teacher) and now.train.distillation == "hard",
    ),
    (
        "train.unlabelled_share",
        "there is no train.unlabelled",
        lambda now, _: bool(now.train.teacher) and not now.train.unlabelled,
    ),
    ("reference_weights", "there is no reference", lambda now, _: now.reference is None),
    ("val_fraction", "the shipped images have validation images of their own", lambda now, _: now.data is None),
    ("runtime", "a command has a runtime of its own", lambda now, _: now.device.startswith("command:")),
    (
        "litert_python",
        "it makes the files of runtime litert alone",
        lambda now, _: now.runtime != "litert" and not now.device.startswith("command:"),
    ),
)
"""Settings that others leave without effect: name, reason, and whether it is so."""


def check_settings(kind: type[Model], values: Mapping[str, Any]) -> Model:
    """Settings of these values, and defaults. Raises UsageError that names each value that cannot be used."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(unusable(error)) from error


def with_given(kind: type[Model], settings: Model | None, given: Mapping[str, Any]) -> Model:
    """Settings, and further ones by name, which override them; others stay unset. Raises UsageError."""
    known = settings.model_dump(exclude_unset=True, mode="json") if settings is not None else {}
    return check_settings(kind, merge_given(known, given))


def unusable(error: ValidationError) -> str:
    """A sentence on each invalid setting, by its name in a YAML file."""
    problems = []
    for problem in error.errors():
        name, message = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "literal_error":
            message += f", not {problem['input']!r}"
        problems.append(f"{name}: {message}" if name else message)
    return f"Settings that cannot be used: {'; '.join(problems)}."


def read_yaml(path: Path, option: str = "--config") -> Given:
    """Given values from a YAML file; the path of a space in it is relative to the file. Raises UsageError if it is not
    a mapping."""
    try:
        given = with_texts(reading.read_yaml(path))
    except RecordError as error:
        raise UsageError(f"{option} {error}") from error
    except ValueError as error:
        raise UsageError(f"{option} {shown_path(path)} cannot be used: {error}.") from error
    if is_path(given.get("space") or ""):
        given["space"] = os.path.realpath(path.parent / Path(given["space"]).expanduser())
    return given


def with_texts(given: Any) -> Given:
    """The same given values. Raises ValueError unless they are by name and those needed before all others are texts."""
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise ValueError("it must hold names and values, such as 'train: {epochs: 30}'")
    for name in ("preset", "data", "supernet_from", "space"):
        if not isinstance(given.get(name), str | None):
            raise ValueError(f"{name} must be text, not {str(given[name])[:60]!r}")
    return given


def require_types(given: Given) -> None:
    """Raise ValueError for a value that no recipe makes usable."""
    try:
        Settings.model_validate(given)
    except ValidationError as error:
        # Settings that exclude one another may come with others from a recipe.
        if wrong := [problem for problem in error.errors(include_url=False) if problem["type"] != "value_error"]:
            name = ".".join(map(str, wrong[0]["loc"]))
            raise ValueError(f"given.{name}: {wrong[0]['msg']}") from error


def with_present_names(given: Mapping[str, Any]) -> Given:
    """Given values of a run directory, with present names in place of earlier ones."""
    renamed = merge_given(given)
    for (group, before), now in RENAMED.items():
        values = renamed.get(group)
        if isinstance(values, dict) and before in values:
            renamed[group] = {now if name == before else name: value for name, value in values.items()}
    return renamed


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Given:
    merged = dict(below)
    for name, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if nested else value
    return merged
