"""The file that lists the classes of masks. No torch.

A line for each class: `VALUE NAME`, `RED GREEN BLUE NAME` where masks are colored, or the name alone, whose values then
follow from their order. A name with `(ignore)` behind it, or one of void, ignore, unlabelled, is not a class: its
pixels are ignored. ADE20K's own table, `objectInfo150.txt`, is read as it is.
"""

import re
from pathlib import Path

from efficientformer.data.masks.mask import IGNORED, MAX_MASK_CLASSES, MaskClasses
from efficientformer.errors import DataError, RecordError
from efficientformer.reading import read_text

_NAMES = ("classes.txt", "label_colors.txt", "objectInfo150.txt")
_IGNORED_NAMES = frozenset({"void", "ignore", "ignored", "unlabelled", "unlabeled"})
_COLORED = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*)")
_NUMBERED = re.compile(r"(\d+)[\s,:]+(\S.*)")
_OF_ADE = re.compile(r"(\d+)\s+[\d.]+\s+\d+\s+\d+\s+(\S.*)")
_IGNORE = re.compile(r"\s*\(ignored?\)\s*$", re.IGNORECASE)
_MOST_LINES = 4096


def find_class_list(folder: Path) -> Path | None:
    """The list in a folder, if there is one."""
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def read_class_list(path: Path, *, starts_at_one: bool) -> MaskClasses:
    """The classes of masks in the order of the list.

    starts_at_one: the value of the first class where the list has no values is 1, and pixels of the value 0 are
        ignored, as in ADE20K.

    Raises DataError that names the line.
    """
    try:
        text = read_text(path, most_mib=1, remedy="").removeprefix("\ufeff")
    except RecordError as error:
        raise DataError(f"{str(error).rstrip()} A list of classes is UTF-8.") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if path.name == _NAMES[2]:
        lines = [(number, line) for number, line in lines if not line.startswith("Idx")]
    if not lines or len(lines) > _MOST_LINES:
        raise DataError(f"{path} lists {len(lines)} classes. A line is 'VALUE NAME'.")
    pattern, are_colors = _pattern(path, lines)
    values: dict[int, str] = {}
    for order, (number, line) in enumerate(lines):
        place = f"{path}, line {number}"
        if pattern is None:
            value, name = order + int(starts_at_one), line
        else:
            match = pattern.fullmatch(line)
            if match is None:
                raise DataError(f"{place}: '{line[:60]}' is not like the first line. {_how(are_colors)}")
            *numbers, name = match.groups()
            value = _value(place, [int(text) for text in numbers])
        if value in values:
            raise DataError(f"{place}: the value of '{values[value]}' is listed again. Give each value once.")
        values[value] = name.strip()
    return _meaning(path, values, are_colors, zero_is_ignored=pattern is None and starts_at_one)


def _pattern(path: Path, lines: list[tuple[int, str]]) -> tuple[re.Pattern[str] | None, bool]:
    """How the lines are read, by the first of them, and whether values are colors."""
    first = lines[0][1]
    if path.name == _NAMES[2]:
        return _OF_ADE, False
    if _COLORED.fullmatch(first):
        return _COLORED, True
    return (_NUMBERED if _NUMBERED.fullmatch(first) else None), False


def _value(place: str, numbers: list[int]) -> int:
    if len(numbers) == 1:
        return numbers[0]
    if max(numbers) > 255:
        raise DataError(f"{place}: a color has values from 0 to 255. {_how(True)}")
    red, green, blue = numbers
    return red << 16 | green << 8 | blue


def _how(are_colors: bool) -> str:
    return f"A line is '{'RED GREEN BLUE NAME' if are_colors else 'VALUE NAME'}'."


def _meaning(path: Path, values: dict[int, str], are_colors: bool, *, zero_is_ignored: bool) -> MaskClasses:
    names, numbers = list[str](), dict[int, int]()
    if not are_colors:
        numbers[IGNORED] = IGNORED
        if zero_is_ignored or (0 not in values and min(values) == 1):
            numbers[0] = IGNORED
    for value in values if are_colors else sorted(values):
        name = values[value]
        if _IGNORE.search(name) or name.lower() in _IGNORED_NAMES:
            numbers[value] = IGNORED
            continue
        if name in names:
            raise DataError(f"{path} lists '{name}' twice. Names of classes differ.")
        numbers[value] = len(names)
        names.append(name)
    if len(names) < 2:
        raise DataError(f"{path} lists fewer than two classes. A network needs at least two.")
    if len(names) > MAX_MASK_CLASSES or (not are_colors and max(values) > 65535):
        raise DataError(f"{path} lists {len(names)} classes; {MAX_MASK_CLASSES} are the most, with values to 65535.")
    return MaskClasses(tuple(names), numbers, are_colors, path.name)
