"""The members of a tar file, by their headers alone. Formats: v7, ustar, GNU and pax.

Not by `tarfile`: it takes a header that is damaged for the end of the file, and an object with all fields of each
member takes more than twice the time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from efficientformer.errors import DataError

BLOCK = 512
AGAIN = "Copy or download it again, or remove it."
_END = bytes(BLOCK)
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_FILES, _LINKS = (b"0", b"\0", b"7"), (b"1", b"2")
_LONG_NAME, _PAX, _SPARSE = b"L", b"x", b"S"
_MOST_NAME_BYTES = _MOST_PADDING = 2**20


class Member(NamedTuple):
    """A file in a tar file, or a link, which has no content. offset, size: of the content, in bytes."""

    name: str
    offset: int
    size: int
    is_link: bool


def blocks(size: int) -> int:
    """Bytes that a content of this size takes."""
    return -(-size // BLOCK) * BLOCK


def members(stream: BinaryIO, path: Path) -> Iterator[Member]:
    """Files and links in the order of the tar file; the stream stands at the content of each when it is yielded.

    path: for messages. Raises DataError for a file that is compressed, damaged, or cut short: one without an end is.
    """
    if stream.read(6).startswith(_COMPRESSED):
        raise DataError(
            f"{path} is compressed, so its images cannot be read one by one. Unpack it to a plain .tar, which is "
            "hardly larger: images are compressed already."
        )
    position, own_name, own_size = 0, "", -1
    while True:
        stream.seek(position)
        header = stream.read(BLOCK)
        if header == _END:
            return _require_end(stream, path)
        kind, size = header[156:157], _size(header, position, path)
        content = position + BLOCK
        if kind in _FILES and own_size >= 0:
            size = own_size
        position = content + blocks(size)
        if kind == _LONG_NAME:
            own_name = _text(stream.read(min(size, _MOST_NAME_BYTES)))
        elif kind == _PAX:
            own_name, own_size = _pax(stream.read(min(size, _MOST_NAME_BYTES)), own_name)
        elif kind == _SPARSE:
            raise DataError(f"{path} holds sparse files, which are not read. Pack it anew without --sparse.")
        else:
            name = (own_name or _name(header)).removeprefix("./")
            if (kind in _FILES or kind in _LINKS) and not name.endswith("/"):
                yield Member(name, content, size, kind in _LINKS)
            own_name, own_size = "", -1


def _require_end(stream: BinaryIO, path: Path) -> None:
    """Raises DataError where anything but a little padding follows the block that ends a tar file."""
    place, rest = stream.tell(), stream.read(_MOST_PADDING + 1)
    if rest.strip(b"\0"):
        raise DataError(
            f"{path} goes on behind its end at byte {place:,}: it is damaged, or several tar files were joined. {AGAIN}"
        )
    if len(rest) > _MOST_PADDING:
        raise DataError(f"{path} holds only zeros from byte {place:,} on, as if a copy was not finished. {AGAIN}")


def _size(header: bytes, position: int, path: Path) -> int:
    """The size in a header. Raises DataError for what is no header."""
    if len(header) < BLOCK:
        raise DataError(f"{path} is cut short: it has no end. {AGAIN}")
    try:
        # Of the checksum itself the blanks count that were there when it was computed.
        total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        if total == _number(header[148:156]):
            return _number(header[124:136])
    except ValueError:
        pass
    raise DataError(f"{path} is damaged at byte {position:,}, or no tar file. {AGAIN}")


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # too large for octal digits
        return int.from_bytes(field[1:], "big")
    return int(field.split(b"\0", 1)[0].strip() or b"0", 8)


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", errors="surrogateescape")


def _pax(records: bytes, own_name: str) -> tuple[str, int]:
    """Name and size in a list of `LENGTH NAME=VALUE`; -1 for no size. What is no such list has neither."""
    own_size = -1
    while records:
        digits, _, rest = records.partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record, records = rest[: length - len(digits) - 1], records[length:] if length > len(digits) else b""
        field, _, value = record.removesuffix(b"\n").partition(b"=")
        if field == b"path":
            own_name = value.decode("utf-8", errors="surrogateescape")
        elif field == b"size" and value.isdigit():
            own_size = int(value)
    return own_name, own_size
