"""What a process prints, read as it comes: its writer never waits, and no flood fills the memory or the disk."""

import contextlib
import threading
from collections.abc import Callable
from typing import BinaryIO

CHUNK = 1 << 16
MAX_LINE = 200


class Tail(threading.Thread):
    """The last `keep` bytes of a stream. `on_flood` is called once if there are more."""

    def __init__(self, stream: BinaryIO, keep: int, on_flood: Callable[[], None] | None = None) -> None:
        super().__init__(daemon=True)
        self._stream, self._keep, self._on_flood = stream, keep, on_flood
        self._kept = bytearray()
        self.is_flooded = False
        self.start()

    def run(self) -> None:
        # A descendant of the process may keep the stream open; then this thread ends with it.
        with contextlib.suppress(OSError, ValueError), self._stream:
            while chunk := self._stream.read1(CHUNK):  # pyright: ignore[reportAttributeAccessIssue] (a BufferedReader)
                self._kept += chunk
                if len(self._kept) > self._keep:
                    self._overflow()

    def text(self, wait_s: float) -> str:
        """What was kept, after the stream's end or `wait_s` seconds; with line feeds alone as ends of lines."""
        self.join(wait_s)
        return bytes(self._kept).decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")

    def _overflow(self) -> None:
        del self._kept[: -self._keep]
        if not self.is_flooded:
            self.is_flooded = True
            if self._on_flood is not None:
                self._on_flood()


def last_lines(text: str, count: int, separator: str) -> str:
    """The last lines of an output for an error message: one line, cut, without what a terminal would interpret."""
    lines = [shown(line.strip()) for line in text.splitlines() if line.strip()]
    return separator.join(lines[-count:])


def shown(text: str, most: int = MAX_LINE) -> str:
    """A line of an output as text: control characters are written out, and a long line is cut."""
    visible = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:most])
    return visible if len(text) <= most else f"{visible}..."
