"""Journals: JSON lines that are written as they come, and read again by the next process."""

from pathlib import Path
from typing import Any, Generic

from efficientformer.reading import Kind, read_lines
from efficientformer.records import append_line, as_json, write_text


class Journal(Generic[Kind]):
    """Lines of the JSON type `kind`; a process that is killed loses the line it was writing.

    about: a digest of everything that the lines depend on: a file with another digest is started anew.
    first: the type of the first line, where it has another.

    Raises RecordError for a line of another shape.
    """

    def __init__(self, path: Path, about: str, kind: type[Kind], *, first: Any = None) -> None:
        self._path, self.about = path, about
        header = {"about": about}
        self.lines: list[Kind] = read_lines(path, kind, header=header, first=first)
        # Rewritten in either case: the next line would be appended to half a line.
        write_text(path, "".join(as_json(line) + "\n" for line in (header, *self.lines)))

    def add(self, line: Any) -> None:
        append_line(self._path, line)
        self.lines.append(line)
