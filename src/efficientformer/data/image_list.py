"""A list of labelled images in place of folders: CSV, JSON or JSON Lines with `path`, `label` and perhaps `split`.

An image may have several labels (`cat|dog`, or an array). Then the list is of task `multi_label`, and an image without
a label has none of them. Paths are relative to the folder of the list. What is wrong with a list is one error that
names its line: a training without the images that were meant would be worse than none.
"""

import csv
import io
import json
import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficientformer.data.layout import Role, role_of
from efficientformer.data.listing import ListedImage, ListedSet, Listing
from efficientformer.data.walk import reason_of, shown
from efficientformer.errors import DataError, RecordError
from efficientformer.reading import parse_json, read_text, shown_path

_SUFFIXES = (".csv", ".json", ".jsonl")
_NEEDED, _KNOWN = ("path", "label"), ("path", "label", "split")
_MOST_MIB = 1024
SEPARATOR = "|"
"""Between labels of an image in one text."""
SEVERAL = ", several labels an image"


@dataclass(frozen=True)
class _Row:
    """An image of the list.

    place: where it stands, for messages.
    file: relative to the folder of the list.
    labels: sorted.
    says_several: whether the labels are several, or an array without any: such a row makes a list `multi_label`.
    """

    place: str
    file: str
    labels: tuple[str, ...]
    split: Role | None
    says_several: bool = False


def is_image_list(path: Path) -> bool:
    """Whether a path is to be read as a list, by its name. A folder may be called anything."""
    return path.suffix.lower() in _SUFFIXES and not path.is_dir()


def read_image_list(path: Path) -> ListedSet:
    """The images of a list, by the same order and names as those of folders. Nothing is decoded.

    Raises DataError that names the line for a file that is missing or lies outside the folder of the list, an unknown
    column, an empty label where no image has several, an unknown split, and an image that is listed twice with
    different labels or splits.
    """
    rows, repeated = _unique(_rows(path), path)
    has_several = any(row.says_several for row in rows)
    splits = _splits(rows, path)
    train, val = (_listing(path, split) if split else None for split in (splits["train"], splits["val"]))
    if train is None:
        raise DataError(f"{shown_path(path)} lists no training images: no row has the split train.")
    if len(train.classes) < (1 if has_several else 2):
        if has_several:
            raise DataError(f"No training image of {shown_path(path)} has a label.")
        (only,) = train.classes
        raise DataError(f"Only one label in {shown_path(path)}: '{only}'. A classifier needs at least two.")
    if val is not None and not val.classes:
        raise DataError(f"No validation image of {shown_path(path)} has a label, so nothing could be scored.")
    notes = [f"{path.name} lists {repeated:,} images more than once: each counts once"] if repeated else []
    if not has_several and (joined := _joined(train.classes)):
        notes.append(f"'{joined}' is one label; several labels of an image are separated by {SEPARATOR}")
    if splits["test"]:
        notes.append(f"{len(splits['test']):,} images of the split test: not used, since there are validation images")
    return ListedSet(
        name=path.stem,
        train=train,
        val=val,
        layout=f"the list {path.name}{SEVERAL if has_several else ''}"
        + ("" if val else ", which gives no validation images"),
        split_rule=f"the column split of {path.name}",
        notes=tuple(notes),
        task="multi_label" if has_several else "classification",
    )


def _joined(labels: Set[str]) -> str | None:
    """A label that looks like several: others are parts of it, between semicolons or commas."""
    parts = {label: {part.strip() for part in re.split("[;,]", label)} - {label} for label in labels}
    return next((label for label in sorted(labels) if parts[label] & labels), None)


def _splits(rows: list[_Row], path: Path) -> dict[Role, list[_Row]]:
    """Rows by split: all are for training where none has one; test images are for validation where there are no such
    images, as in folders."""
    without = [row for row in rows if row.split is None]
    if without and len(without) < len(rows):
        raise DataError(f"{without[0].place}: it has no split, but other images have. Give one to all, or to none.")
    splits: dict[Role, list[_Row]] = {"train": without, "val": [], "test": []}
    for row in rows:
        if row.split is not None:
            splits[row.split].append(row)
    if not splits["val"]:
        splits["val"], splits["test"] = splits["test"], []
    return splits


def _listing(path: Path, rows: list[_Row]) -> Listing:
    root = path.parent
    images = [ListedImage(row.file, shown(root, f"{root}/{row.file}"), row.labels) for row in rows]
    images.sort(key=lambda image: (image.class_names, image.name, image.file))
    return Listing(root, path, {label for row in rows for label in row.labels}, images)


def _unique(rows: list[_Row], path: Path) -> tuple[list[_Row], int]:
    """Each image once, and the number of images that were listed again. Raises DataError where its rows differ."""
    if not rows:
        raise DataError(f"{shown_path(path)} lists no images.")
    first: dict[str, _Row] = {}
    repeated = set[str]()
    for row in rows:
        known = first.setdefault(row.file, row)
        if known is row:
            continue
        labels = ("label", SEPARATOR.join(row.labels), SEPARATOR.join(known.labels))
        for what, here, there in (labels, ("split", row.split, known.split)):
            if here != there:
                raise DataError(
                    f"{row.place}: {shown_path(row.file)} has the {what} '{here}', but '{there}' in "
                    f"{known.place.rpartition(', ')[2]}."
                )
        repeated.add(row.file)
    return list(first.values()), len(repeated)


def _rows(path: Path) -> list[_Row]:
    name = shown_path(path)
    try:
        text = read_text(path, most_mib=_MOST_MIB, remedy="").rstrip().removeprefix("\ufeff")
    except RecordError as error:
        raise DataError(f"{str(error).rstrip()} A list of images is CSV, JSON or JSON Lines, in UTF-8.") from error
    read = {".csv": _of_csv, ".json": _of_json, ".jsonl": _of_json_lines}[path.suffix.lower()]
    rows, missing = list[_Row](), list[str]()
    for where, fields in read(text, name):
        place = f"{name}, {where}"
        file, (labels, says_several) = _file(path.parent, fields["path"], place), _labels(fields["label"], place)
        row = _Row(place, file, labels, _split(fields, place), says_several)
        if problem := _problem(path.parent / row.file):
            missing.append(f"{place}: {shown_path(row.file)}: {problem}")
        rows.append(row)
    empty = next((row for row in rows if not row.labels), None)
    if empty is not None and not any(row.says_several for row in rows):
        raise DataError(
            f"{empty.place}: the label is empty or no text. An image of none of the classes is one of a list whose "
            f"other images have several labels, such as cat{SEPARATOR}dog."
        )
    if missing:
        others = len(missing) - 1
        more = f" {others:,} more {'file' if others == 1 else 'files'} cannot be used." if others else ""
        raise DataError(f"{missing[0]}. Paths are relative to the folder of the list.{more}")
    return rows


def _of_csv(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # Spreadsheets write semicolons where the comma is for decimals.
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            where, line = f"line {line}", reader.line_num + 1
            if not columns:
                columns = [cell.strip().lower() for cell in cells]
                _require_columns(columns, f"{name}, {where}", "column")
            elif len(cells) != len(columns) and any(cells):
                raise DataError(
                    f"{name}, {where}: it has {len(cells)} cells, not {len(columns)}. Quote a cell that contains "
                    f"{'a tab' if delimiter == chr(9) else repr(delimiter)}."
                )
            elif any(cell.strip() for cell in cells):
                yield where, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: it is not CSV ({error}).") from error


def _of_json(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        entries = parse_json(text)
    except ValueError as error:
        raise DataError(f"{name} cannot be used: {error}.") from error
    if not isinstance(entries, list):
        raise DataError(f'{name} cannot be used: it must be a list of objects such as {{"path": ..., "label": ...}}.')
    for number, entry in enumerate(entries, start=1):
        yield f"entry {number}", _object(entry, f"{name}, entry {number}")


def _of_json_lines(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise DataError(f"{name}, line {number}, cannot be used: {error}.") from error
        yield f"line {number}", _object(entry, f"{name}, line {number}")


def _object(entry: Any, place: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise DataError(f'{place}: it must be an object such as {{"path": ..., "label": ...}}.')
    _require_columns(list(entry), place, "name")
    return entry


def _require_columns(columns: Sequence[str], place: str, what: str) -> None:
    known = "A list has path, label and perhaps split"
    if unknown := [column for column in columns if column not in _KNOWN]:
        raise DataError(f"{place}: the {what} {shown_path(json.dumps(unknown[0]))} is not known. {known}.")
    if lacking := [column for column in _NEEDED if column not in columns]:
        raise DataError(f"{place}: the {what} {lacking[0]} is missing. {known}.")
    if len(set(columns)) < len(columns):
        raise DataError(f"{place}: a {what} is given twice. {known}.")


def _file(root: Path, given: Any, place: str) -> str:
    """The path relative to the folder of the list, with forward slashes, in its shortest spelling."""
    if not isinstance(given, str) or not given.strip():
        raise DataError(f"{place}: the path is empty or no text.")
    text = given.strip()
    if "\0" in text or not _is_text(text):
        raise DataError(f"{place}: {shown_path(text)} is not the name of a file.")
    path = Path(text)
    if path.is_absolute():
        for folder in (root.absolute(), root.resolve()):
            if path.is_relative_to(folder):
                path = path.relative_to(folder)
                break
    file = posixpath.normpath(path.as_posix())
    if Path(file).is_absolute() or file.split("/")[0] == "..":
        raise DataError(
            f"{place}: {shown_path(text)} lies outside {shown_path(root.absolute())}, the folder of the list. Move the "
            "list to a folder that holds all images."
        )
    return file


def _labels(given: Any, place: str) -> tuple[tuple[str, ...], bool]:
    """The labels of an image, sorted, and whether its row makes the list `multi_label`."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return (), False
    parts = given if isinstance(given, list) else given.split(SEPARATOR) if isinstance(given, str) else [given]
    labels = [_label(part, place) for part in parts]
    if repeated := next((label for label in labels if labels.count(label) > 1), None):
        raise DataError(f"{place}: the label '{repeated}' is given twice.")
    return tuple(sorted(labels)), len(labels) != 1


def _label(given: Any, place: str) -> str:
    """A label as the name of a class: composed Unicode, as the names of folders are."""
    is_number = isinstance(given, int) and not isinstance(given, bool)
    text = str(given) if is_number else given
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{place}: the label is empty or no text.")
    if SEPARATOR in text:
        raise DataError(
            f"{place}: the label {shown_path(json.dumps(text))} contains {SEPARATOR}, which separates labels."
        )
    if not _is_text(text) or any(unicodedata.category(letter) == "Cc" for letter in text.strip()):
        raise DataError(f"{place}: the label {shown_path(json.dumps(text))} contains what is no character of a text.")
    return unicodedata.normalize("NFC", text.strip())


def _split(fields: dict[str, Any], place: str) -> Role | None:
    given = fields.get("split")
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    role = role_of(given.strip()) if isinstance(given, str) else None
    if role is None:
        raise DataError(f"{place}: the split must be train or val, not {shown_path(json.dumps(given))}.")
    return role


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problem(path: Path) -> str | None:
    """Why a path is no file; None for a file, which may still hold anything."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - called for every image of large lists
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return reason_of(error)
    return None if stat.S_ISREG(mode) else "a folder" if stat.S_ISDIR(mode) else "not a regular file"
