"""Reading of JSON, or YAML, that anyone may have written: files, lines of a journal, texts inside other files.

Everything read is bounded in size, depth and digits, and compared with a type before any of it is used. A file that is
not what was expected is one error that names the field. Boards measure without this module: it needs pydantic.
"""

import json
import math
import re
import stat
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from efficientformer.errors import RecordError

Kind = TypeVar("Kind")

MOST_MIB = 64
"""Largest file of one record or journal."""
MOST_LEVELS = 64
"""Lists and objects inside one another; our records have ten at most."""
MOST_DIGITS = 20
YAML_MIB, MOST_YAML_VALUES = 1, 10_000
"""Aliases count each time that they are used: a few lines can stand for billions of values."""
MADE_AGAIN = "Delete it to have it made again."

_RULES: dict[Any, Callable[[Any], None]] = {}
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 2
_WORDS = {
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "too_short": "has too few items",
    "too_long": "has too many items",
}


def read_record(path: Path, kind: type[Kind], *, most_mib: int = MOST_MIB, remedy: str = MADE_AGAIN) -> Kind:
    """The record in a file, a value of the JSON type `kind`; fields that the type does not have are kept.

    Raises RecordError when it is missing, larger than `most_mib`, not JSON or of another shape; `remedy` ends it.
    """
    text = read_text(path, most_mib=most_mib, remedy=remedy)
    try:
        return checked(parse_json(text), kind)
    except ValueError as error:
        raise RecordError(f"{shown_path(path)} cannot be used: {error}. {remedy}".rstrip()) from error


def read_lines(
    path: Path, kind: type[Kind], *, header: Any = None, first: Any = None, remedy: str = MADE_AGAIN
) -> list[Kind]:
    """Every line of a file, each a value of the JSON type `kind`: none if it is absent, and without a last line that
    was cut short.

    header: the content of a line before them. A file with another one is about something else: it has no such lines.
    first: the type of the first line, where it has another.

    Raises RecordError that names the line.
    """
    if not path.exists():
        return []
    *lines, last = read_text(path, remedy=remedy, errors="replace").split("\n")
    documents = []
    for number, line in enumerate([*lines, last] if last else lines, start=1):
        try:
            try:
                content = parse_json(line)
            except ValueError:
                if number > len(lines):
                    break
                raise
            if header is not None and number == 1:
                if content != header:
                    return []
                continue
            documents.append(checked(content, kind if documents or first is None else first))
        except ValueError as error:
            raise RecordError(f"{shown_path(path)}, line {number}, cannot be used: {error}. {remedy}") from error
    return documents


def read_text(path: Path, *, most_mib: int = MOST_MIB, remedy: str = MADE_AGAIN, errors: str = "strict") -> str:
    """The text of a file. Raises RecordError for all that is not a text file of at most `most_mib` MiB."""
    name = shown_path(path)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # Opening a pipe would wait for its writer.
            what = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe or a device"
            raise RecordError(f"{name} is {what}, not a file. Move it away and run the same command again.")
        if about.st_size > most_mib << 20:
            raise RecordError(
                f"{name} has {about.st_size >> 20} MiB, more than the {most_mib} of any such file. {remedy}"
            )
        return path.read_text(encoding="utf-8", errors=errors)
    except FileNotFoundError as error:
        raise RecordError(f"{name} does not exist.") from error
    except OSError as error:
        raise RecordError(f"{name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{name} is not UTF-8 text. {remedy}") from error
    except ValueError as error:
        raise RecordError(f"{name} is not the name of a file: {error}.") from error


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, by the safe loader. Raises RecordError for one that is not readable, repeats a key,
    is larger than `YAML_MIB`, too deep, or of more than `MOST_YAML_VALUES` values."""
    text, name = read_text(path, most_mib=YAML_MIB, remedy=""), shown_path(path)
    # The parser takes a quarter of a minute to find out.
    if max(accumulate((char in "[{") - (char in "]}") for char in text), default=0) > MOST_LEVELS:
        raise RecordError(f"{name} cannot be used: it has more than {MOST_LEVELS} lists or objects inside one another.")
    try:
        content = parse_yaml(text)
        require_shallow(content, MOST_YAML_VALUES)
    except RecursionError:
        raise RecordError(f"{name} has too many lists or objects inside one another.") from None
    except yaml.YAMLError as error:
        raise RecordError(f"{name} is not readable YAML: {' '.join(str(error).split())}.") from error
    except ValueError as error:
        raise RecordError(f"{name} cannot be used: {error}.") from error
    return content


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, which refuses a key that a mapping repeats. A mapping may override what `<<` merges into it."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        known = set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in known:
                    raise ValueError(f"line {key.start_mark.line + 1} gives {_name(key.value)} a second time")
                known.add((key.tag, key.value))
        return node


def parse_yaml(text: str) -> Any:
    """A YAML value, by the safe loader. Raises YAMLError, or ValueError that names the line of a repeated key."""
    return yaml.load(text, Loader=_UniqueKeyLoader)


def parse_json(text: str) -> Any:
    """A JSON value without infinities, without halves of characters, at most `MOST_LEVELS` deep.

    Of equal keys the last one holds. Raises ValueError that says what is wrong.
    """
    try:
        content = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_refused)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from error
    except RecursionError:
        raise ValueError(f"it has more than {MOST_LEVELS} lists or objects inside one another") from None
    require_shallow(content)
    if re.search(r"\\u[dD][89a-fA-F]", text):
        try:
            # Bytes of a file name that is no UTF-8 are halves of their own; `records.as_json` writes them.
            json.dumps(content, ensure_ascii=False).encode(errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise ValueError("it contains half of a character (a lone surrogate)") from error
    return content


def require_shallow(content: Any, most_values: int | None = None) -> None:
    """Raise ValueError for more than `MOST_LEVELS` lists and objects inside one another, or more values than given."""
    level, depth, count = [content], 0, 1
    while level := [
        child
        for value in level
        if isinstance(value, dict | list)
        for child in (value.values() if isinstance(value, dict) else value)
    ]:
        depth, count = depth + 1, count + len(level)
        if depth > MOST_LEVELS:
            raise ValueError(f"it has more than {MOST_LEVELS} lists or objects inside one another")
        if most_values is not None and count > most_values:
            raise ValueError(f"it has more than {most_values} values")


def checked(content: Any, kind: type[Kind]) -> Kind:
    """The content itself, if it is a value of the JSON type `kind`. Raises ValueError that names what is not."""
    try:
        _adapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        raise ValueError(_problem(error)) from error
    if kind in _RULES:
        _RULES[kind](content)
    return cast(Kind, content)


def shown_path(path: Path | str) -> str:
    """A path for a message: short, and without what a terminal would interpret."""
    text = str(path)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 300 else f"{text[:120]}…{text[-60:]}"


def rule(kind: type[Kind]) -> Callable[[Callable[[Kind], None]], Callable[[Kind], None]]:
    """Register a function that raises ValueError where fields of a record do not fit one another."""

    def register(check: Callable[[Kind], None]) -> Callable[[Kind], None]:
        _RULES[kind] = check
        return check

    return register


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(_name(part) for part in first["loc"])
    if first["type"] == "missing":
        text = "is missing"
    elif first["type"] == "value_error":
        text = str(first.get("ctx", {})["error"]).rstrip(".")
    else:
        text = _WORDS.get(first["type"]) or first["msg"].replace("Input should be", "must be", 1)
        text += f", not {_SHORT.repr(first['input'])}"
    others = error.error_count() - 1
    more = f" (and {others} more)" if others else ""
    return f"{where or 'it'} {text}{more}" if first["type"] != "value_error" or not where else f"{where}: {text}{more}"


def _name(part: Any) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= 60 else _SHORT.repr(text)


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it contains a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    if len(digits) > 1000 or math.isinf(value := float(digits)):
        raise ValueError(f"it contains the number {digits[:20]}…, which is too large")
    return value


def _refused(name: str) -> Any:
    raise ValueError(f"it contains {name}, which is not a number")
