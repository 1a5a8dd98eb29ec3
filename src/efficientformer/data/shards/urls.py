"""Addresses of shards in place of a path: `https://host/train-{000000..000009}.tar`, several joined by `::`.

No network here. A `Path` of an address has one slash behind its scheme, and is read as well.
"""

import hashlib
import itertools
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from efficientformer.errors import UsageError
from efficientformer.paths import is_address

JOINED = "::"
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST = 100_000


@dataclass(frozen=True)
class Addresses:
    """Shards to download. files: by address, where each is in the folder of all. name: of the set, for people."""

    name: str
    files: dict[str, str]

    @property
    def key(self) -> str:
        """A name for the folder, other for other addresses."""
        return hashlib.sha256("\n".join(self.files).encode()).hexdigest()[:24]

    def beside(self, name: str) -> str:
        """The address of a file in the folder that the files are relative to."""
        address, file = next(iter(self.files.items()))
        parts = urlsplit(address)
        path = unquote(parts.path)
        return urlunsplit(parts._replace(path=quote(f"{path[: len(path) - len(file)]}{name}")))


def parse_addresses(path: Path) -> Addresses:
    """Raises UsageError for what names no tar files."""
    parts = [re.sub(r"^(https?):/+", r"\1://", part) for part in str(path).split(JOINED)]
    addresses = [address for part in parts for address in _expanded(part)]
    for address in addresses:
        place = unquote(urlsplit(address).path)
        if not is_address(address) or not place.endswith(".tar") or ".." in place.split("/") or "{" in place:
            raise UsageError(
                f"{address} is no address of a tar file. Give one such as https://host/train-{{000000..000009}}.tar, "
                f"and several joined by {JOINED}."
            )
    places = [unquote(urlsplit(address).path).lstrip("/") for address in addresses]
    shared = posixpath.commonpath([posixpath.dirname(place) for place in places])
    files = {address: place[len(shared) :].lstrip("/") for address, place in zip(addresses, places, strict=True)}
    if len({*files.values()}) < len(files):
        raise UsageError("Shards of the same name on several hosts cannot be told apart. Give the addresses of one.")
    return Addresses(posixpath.basename(shared) or urlsplit(addresses[0]).hostname or "shards", files)


def _expanded(pattern: str) -> list[str]:
    """One address for each number of the ranges in a pattern, the last range first, with the digits of its start."""
    pieces = _RANGE.split(pattern)
    choices: list[list[str]] = []
    for fixed, first, last in zip(pieces[::3], [*pieces[1::3], ""], [*pieces[2::3], ""], strict=True):
        choices.append([fixed])
        if first:
            numbers = range(int(first), int(last) + 1)
            if not 0 < len(numbers) <= _MOST:
                raise UsageError(f"{{{first}..{last}}} in {pattern} names no shards, or more than {_MOST:,}.")
            choices.append([f"{number:0{len(first)}d}" for number in numbers])
    return ["".join(chosen) for chosen in itertools.product(*choices)]
