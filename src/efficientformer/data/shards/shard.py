"""The labelled pictures of one tar file, by one pass over its headers: they are read later, each at its place.

As in WebDataset, members with the same name up to the first dot are a sample: `cat/0.jpg` and `cat/0.cls`, or
`cat/0.json`.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import MOMENT_NS, FileState, changed_ns, file_state
from efficientformer.data.dataset import SkippedFile
from efficientformer.data.formats import is_picture, is_read, why_not_read
from efficientformer.data.large.class_files import EMPTY_FILE
from efficientformer.data.shards.tar import AGAIN, Member, members
from efficientformer.data.walk import LeftOut, composed, reason_of
from efficientformer.errors import DataError
from efficientformer.reading import parse_json

_LABELS = ("cls", "json")
_MOST_LABEL_BYTES = 2**20
MOST_DIGITS = 9
"""Of the number of a class."""


@dataclass(frozen=True, eq=False)
class Shard:
    """The labelled pictures of a tar file, N of them, in the order of the file.

    file: relative to the folder of the shards. state: of the file, before it was listed at `listed_ns`.
    names: of the pictures, with the file in front: `train-000000.tar/cat/0.jpg`.
    offsets, sizes: (N,) int64, bytes.
    labels: (N,) int32, places in `label_texts`, which are numbers or names of classes.
    left_out: members that are neither pictures nor labels, and pictures that are not read.
    """

    file: str
    state: FileState
    listed_ns: int
    names: Texts
    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    label_texts: tuple[str, ...]
    left_out: LeftOut

    def is_current(self, root: Path) -> bool:
        """Whether the file is still what was listed. One with pictures that were left out may be readable now, so it
        is listed again, as is one that was changed in the moment of its listing."""
        try:
            is_same = file_state(root / self.file) == self.state
        except OSError:
            return False
        return is_same and not self.left_out.skipped and changed_ns(self.state) + MOMENT_NS < self.listed_ns


@dataclass
class _Sample:
    """The members with one key: pictures by extension, the content of labels by extension, and other extensions."""

    pictures: dict[str, Member] = field(default_factory=dict)
    labels: dict[str, bytes] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)


def list_shard(root: Path, file: str) -> Shard:
    """List a tar file in `root`. Raises DataError that names it where it is damaged, cut short or compressed, where it
    holds a member twice, and where a picture has no label or shares one with another picture."""
    path, began = root / file, time.time_ns()
    try:
        state = file_state(path)
        with path.open("rb") as stream:
            samples = _samples(stream, path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}. {AGAIN}") from error
    left_out, rows, texts = LeftOut(), list[tuple[str, int, int]](), dict[str, int]()
    labels: list[int] = []
    for key, sample in samples.items():
        left_out.others.update(
            f".{composed(extension)}" if extension else "without extension" for extension in sample.others
        )
        member = _picture(sample, path, key)
        if member is None:
            left_out.others.update(f".{extension}" for extension in sample.labels)
            continue
        name = f"{file}/{member.name}"
        if reason := _why_skipped(member):
            left_out.skipped.append(SkippedFile(composed(name), reason))
            continue
        rows.append((name, member.offset, member.size))
        labels.append(texts.setdefault(_label(sample, path, key), len(texts)))
    return Shard(
        file=file,
        state=state,
        listed_ns=began,
        names=Texts.of(name for name, _, _ in rows),
        offsets=np.array([offset for _, offset, _ in rows], np.int64),
        sizes=np.array([size for _, _, size in rows], np.int64),
        labels=np.array(labels, np.int32),
        label_texts=tuple(texts),
        left_out=left_out,
    )


def _samples(stream: BinaryIO, path: Path) -> dict[str, _Sample]:
    """By key, in the order of the file. Hidden files are none of it."""
    samples: dict[str, _Sample] = {}
    for member in members(stream, path):
        folder, slash, own = member.name.rpartition("/")
        if own.startswith("."):
            continue
        stem, _, extension = own.partition(".")
        extension = extension.lower()
        sample = samples.setdefault(f"{folder}{slash}{stem}", _Sample())
        if extension in sample.pictures or extension in sample.labels:
            raise DataError(f"{path} holds {composed(member.name)} twice. {AGAIN}")
        if extension in _LABELS:
            sample.labels[extension] = stream.read(min(member.size, _MOST_LABEL_BYTES))
        elif is_picture(_ending(extension)):
            sample.pictures[extension] = member
        else:
            sample.others.add(extension)
    return samples


def _ending(extension: str) -> str:
    return f".{extension.rpartition('.')[2]}"


def _picture(sample: _Sample, path: Path, key: str) -> Member | None:
    """The picture of a sample, if it has one. Raises DataError for several."""
    plain = {extension: member for extension, member in sample.pictures.items() if "." not in extension}
    found = plain if len(plain) == 1 else sample.pictures
    if len(found) > 1:
        raise DataError(
            f"{path} has several pictures of '{composed(key)}': {', '.join(sorted(found))}. A sample is one picture "
            "and the number of its class."
        )
    return next(iter(found.values()), None)


def _why_skipped(member: Member) -> str | None:
    ending = _ending(member.name.lower().rpartition("/")[2])
    if member.is_link:
        return "a link inside the tar file; pack the picture itself"
    if not is_read(ending):
        return why_not_read(ending)
    if not member.size:
        return EMPTY_FILE
    try:
        member.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    return None


def _label(sample: _Sample, path: Path, key: str) -> str:
    """The number of the class as text, or its name: of `.cls`, else of `label` in `.json`. Raises DataError."""
    label: Any = None
    try:
        if "cls" in sample.labels:
            label = sample.labels["cls"].decode().strip()
        elif "json" in sample.labels:
            content = parse_json(sample.labels["json"].decode())
            label = content.get("label") if isinstance(content, dict) else None
    except ValueError as error:
        raise DataError(f"{path}: the label of '{composed(key)}' cannot be read: {error}. {AGAIN}") from error
    if isinstance(label, bool) or not isinstance(label, int | str) or label == "":
        raise DataError(
            f"{path}: '{composed(key)}' has no label. Each picture needs a .cls with the number of its class, or a "
            ".json with that as 'label'."
        )
    # Numbers are written in several ways.
    return str(int(label)) if isinstance(label, int) or (label.isdecimal() and len(label) <= MOST_DIGITS) else label
