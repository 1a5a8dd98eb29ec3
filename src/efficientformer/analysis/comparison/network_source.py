"""Resolve a name to a network: one of ours, one of timm's, an exported file, or the network of a run."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from efficientformer.arch.dense import DenseHead
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.paths import usable_path

Kind = Literal["zoo", "timm", "onnx", "weights"]
DenseTaskName = Literal["semantic", "detection"]
"""Tasks whose models are compared."""
TIMM_PREFIX = "timm:"
NUM_SUGGESTIONS = 3
GIVE_ANY = "Give a name of ours or of timm (timm.list_models()), an .onnx file or a run directory."


@dataclass(frozen=True)
class TaskModel:
    """What makes networks task models: their task, and of networks by name the head and the number of classes."""

    task: DenseTaskName
    head: DenseHead
    num_classes: int


@dataclass(frozen=True)
class NetworkSource:
    """Where a network comes from: `name` is its name in tables, `target` a name of the zoo or of timm, or a path.

    model: of a task model; without one it is compared as a classifier.
    """

    name: str
    title: str
    kind: Kind
    target: str
    model: TaskModel | None = None

    @property
    def task(self) -> DenseTaskName | None:
        return None if self.model is None else self.model.task


def find_sources(names: Sequence[str]) -> list[NetworkSource]:
    """One source per name or path, or several for a run directory with several networks; duplicates are removed.

    Raises UsageError for an unknown name, with similar names, and for a folder or file without a network.
    """
    sources = [source for name in names for source in _find(name)]
    unique = {(source.kind, source.target): source for source in sources}.values()
    return _with_distinct_names(list(unique))


def published_source(name: str, title: str | None = None) -> NetworkSource:
    """What to build for a published network, by its name with or without a tag: this package's network, in the form
    that it exports, where it has the architecture, else timm's."""
    architecture = name.partition(".")[0]
    if architecture in ZOO:
        return NetworkSource(name, title or name, "zoo", architecture)
    return NetworkSource(name, title or name, "timm", name)


def require_published(name: str) -> NetworkSource:
    """The same. Raises UsageError for a name that is neither ours nor timm's, with similar names."""
    source, remedy = published_source(name), "Give a name of ours or of timm (timm.list_models())."
    if name.startswith(TIMM_PREFIX):
        raise UsageError(f"There is no published network {name!r}. Leave out {TIMM_PREFIX!r}.")
    return source if source.kind == "zoo" else _timm(name, remedy)


def _find(name: str) -> list[NetworkSource]:
    path = usable_path(name, "network")
    if path.is_dir():
        return _in_folder(path)
    if path.suffix in (".onnx", ".safetensors"):
        if not path.is_file():
            raise UsageError(f"{name} does not exist. Give an exported .onnx file or a weights.safetensors of ours.")
        return [_file(path)]
    if name in ZOO:
        return [NetworkSource(name, name, "zoo", name)]
    return [_timm(name)]


def _file(path: Path) -> NetworkSource:
    kind: Kind = "onnx" if path.suffix == ".onnx" else "weights"
    name = path.stem if path.stem not in ("model", "weights") else path.resolve().parent.name
    return NetworkSource(name, name, kind, str(path))


def _in_folder(folder: Path) -> list[NetworkSource]:
    """The exported networks of a run directory, or the one of a folder such as RUN/networks/8ms."""
    for pattern in ("networks/*/model.onnx", "model.onnx", "networks/*/weights.safetensors", "weights.safetensors"):
        if files := sorted(folder.glob(pattern)):
            return [_file(path) for path in files]
    raise UsageError(
        f"{folder} holds no network: neither networks/*/model.onnx nor model.onnx. Give a run directory whose "
        "networks are exported ('efficientformer export')."
    )


def _timm(given: str, remedy: str = GIVE_ANY) -> NetworkSource:
    import timm

    name = given.removeprefix(TIMM_PREFIX)
    if not timm.is_model(name):
        raise UsageError(f"There is no network {given!r}{_suggestion(name, timm.list_models(), remedy)}")
    base, _, tag = name.partition(".")
    tagged = timm.list_pretrained(f"{base}.*") if tag else []
    if tag and name not in tagged:
        raise UsageError(f"timm has no weights {name!r}{_suggestion(name, tagged, remedy)}")
    return NetworkSource(given, given, "timm", name)


def _suggestion(name: str, known: Sequence[str], remedy: str) -> str:
    near = difflib.get_close_matches(name, [*ZOO, *known], NUM_SUGGESTIONS, cutoff=0.6)
    return f"; similar names are {', '.join(dict.fromkeys(near))}. {remedy}" if near else f". {remedy}"


def _with_distinct_names(sources: list[NetworkSource]) -> list[NetworkSource]:
    """Networks of different runs may have the same folder name; these are named by their paths."""
    names = [source.name for source in sources]
    return [
        NetworkSource(source.target, source.target, source.kind, source.target)
        if names.count(source.name) > 1 and source.kind in ("onnx", "weights")
        else source
        for source in sources
    ]
