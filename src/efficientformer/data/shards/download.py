"""Shards of an address in this user's cache: each is downloaded once, and goes on where it was interrupted."""

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from efficientformer.data.images import Progress
from efficientformer.data.large.kept import one_at_a_time
from efficientformer.data.shards.manifest import CLASSES
from efficientformer.data.shards.urls import parse_addresses
from efficientformer.errors import DataError, RecordError
from efficientformer.paths import is_address, user_folder
from efficientformer.reading import read_record
from efficientformer.records import write_record

_TIMEOUT_S = 30.0
_CHUNK, _MB = 2**18, 10**6
_ABSENT = (403, 404)
"""Stores answer the former for what they do not list."""


class _Begun(TypedDict):
    """What is known of a file whose download began. num_bytes: -1 where the server does not say it. version: what the
    server changes with the content, empty where it says none."""

    num_bytes: int
    version: str


def local_shards(path: Path, progress: Progress | None = None) -> Path:
    """The folder in this user's cache with the shards of an address; any other path as it is.

    progress: called with the MB that are there and those of all, estimated by the files that are known.

    Raises UsageError for an address of no tar files, DataError where one cannot be downloaded: what is there, stays.
    """
    if not is_address(str(path)):
        return path
    addresses = parse_addresses(path)
    try:
        folder = user_folder("cache") / "shards" / addresses.key / addresses.name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"There is no place for {path}: {error}. Set XDG_CACHE_HOME to a large disk.") from error
    there, num_files = 0, len(addresses.files)
    with one_at_a_time(folder.parent / "download"):
        is_whole = all((folder / file).exists() for file in addresses.files.values())
        if not is_whole and not (folder / CLASSES).exists():
            with contextlib.suppress(_AbsentError):
                _fetch(addresses.beside(CLASSES), folder / CLASSES, lambda done, total: None)
        for number, (address, file) in enumerate(addresses.files.items(), start=1):

            def on_bytes(done: int, total: int, before: int = there, number: int = number) -> None:
                if progress is not None:
                    estimated = (before + total) * num_files // number
                    progress((before + done) // _MB, max(estimated, before + total) // _MB)

            there += _fetch(address, folder / file, on_bytes)
    return folder


class _AbsentError(DataError):
    """The server has no such file."""


def _fetch(address: str, path: Path, on_bytes: Callable[[int, int], None]) -> int:
    """Download a file unless it is there, and return its bytes. A file has its name when it is whole."""
    if path.exists():
        return path.stat().st_size
    part, about = (path.with_name(f".{path.name}.{end}") for end in ("part", "json"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = _begun(about)
        have = part.stat().st_size if begun is not None and part.exists() else 0
        if begun is None or have != begun["num_bytes"]:
            begun, have = _receive(address, part, about, begun, have, on_bytes)
    except urllib.error.HTTPError as error:
        kind = _AbsentError if error.code in _ABSENT else DataError
        raise kind(f"{address} cannot be downloaded: {error.code} {error.reason}. Check the address.") from error
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise DataError(f"{address} cannot be downloaded: {why}. Run the same command again: it goes on.") from error
    if begun["num_bytes"] not in (-1, have):
        raise DataError(
            f"{address} ended at {have:,} of {begun['num_bytes']:,} bytes. Run the same command again: it goes on."
        )
    part.replace(path)
    about.unlink(missing_ok=True)
    return have


def _begun(about: Path) -> _Begun | None:
    try:
        return read_record(about, _Begun)
    except RecordError:
        return None


def _receive(
    address: str, part: Path, about: Path, begun: _Begun | None, have: int, on_bytes: Callable[[int, int], None]
) -> tuple[_Begun, int]:
    """Append to a part what it lacks, or begin anew where the file is another or the server gives whole ones alone.

    Returns what is known of the file, and the bytes that are there."""
    request = urllib.request.Request(address)
    if begun is not None and have and begun["version"]:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", begun["version"])
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT and begun is not None
        if not goes_on:
            have, begun = 0, _known(response.headers)
            write_record(about, begun)
        assert begun is not None
        with part.open("ab" if goes_on else "wb") as stream:
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                have += len(chunk)
                on_bytes(have, max(begun["num_bytes"], have))
    return begun, have


def _known(headers: Any) -> _Begun:
    length = headers.get("Content-Length") or ""
    version = headers.get("ETag") or headers.get("Last-Modified") or ""
    return {"num_bytes": int(length) if length.isdigit() else -1, "version": version}
