"""What is wrong with annotations: collected, so that one run names everything, and left out on request."""

from efficientformer.data.dataset import SkippedFile
from efficientformer.errors import DataError

MOST_NAMED = 10


class Problems:
    """Items that cannot be used. With `skip_bad` they are left out and named, else `settle` refuses them."""

    def __init__(self, *, skip_bad: bool) -> None:
        self._skip_bad = skip_bad
        self._found: list[SkippedFile] = []

    def add(self, place: str, problem: str) -> None:
        """place: the file and the item in it. problem: the field, what is wrong, and the remedy, as a sentence without
        its end."""
        self._found.append(SkippedFile(place, problem))

    def settle(self) -> tuple[SkippedFile, ...]:
        """What is left out. Raises DataError with a line for each problem unless bad items are to be left out."""
        if not self._found or self._skip_bad:
            return tuple(self._found)
        lines = [f"{item.file}: {item.reason}." for item in self._found[:MOST_NAMED]]
        if len(self._found) > MOST_NAMED:
            lines.append(f"And {len(self._found) - MOST_NAMED:,} more.")
        what = "This item" if len(self._found) == 1 else f"These {len(self._found):,} items"
        raise DataError("\n".join([*lines, f"{what} can be left out with --skip-bad."]))
