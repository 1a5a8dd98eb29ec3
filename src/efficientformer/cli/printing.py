"""What verbs print on standard output: lines, tables and JSON documents."""

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO, cast

from efficientformer.errors import EfficientFormerError
from efficientformer.records import as_json

WIDE = 1000
"""Columns where a table keeps one line a row: a long line that wraps is easier to read than wrapped cells."""


def use_any_encoding() -> None:
    r"""Characters that an encoding of standard output or error lacks are written as escapes (`\xe9`), not refused."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_lines(lines: Iterable[str]) -> None:
    from efficientformer.pipeline.run.console import TextConsole

    console = TextConsole(soft_wrap=True)
    with _written():
        for line in lines:
            console.print(line)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], *, wide: bool = False) -> None:
    """A table with these columns; nothing if there are no rows. `wide`: rows are never wrapped."""
    from rich.table import Table

    from efficientformer.pipeline.run.console import TextConsole

    shown = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        shown.add_row(*row)
    if shown.row_count:
        console = TextConsole(width=WIDE) if wide else TextConsole()
        with _written():
            console.print(shown, soft_wrap=not wide and not console.is_terminal)


def print_json(document: Any) -> None:
    """Print one JSON document: with letters as they are, or, where standard output cannot carry one, as ASCII."""
    if sys.stdout is None:  # closed by the caller
        return
    with _written():
        sys.stdout.write(as_json(document, indent=1, encoding=sys.stdout.encoding or "utf-8") + "\n")


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Flush what the block prints. Raises BrokenPipeError when nobody reads on, EfficientFormerError when it cannot be
    written; the rest of the output is then dropped, since Python would complain about it again at its end."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream without a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), cast(TextIO, sys.stdout).fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise EfficientFormerError(f"Standard output cannot be written: {error.strerror or error}.") from error
