"""Messages through a pair of byte streams: a line of JSON, then the number of raw bytes given by its "bytes"."""

import io
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from efficientformer.latency.worker.answers import MAX_LINE, parse_object

CHUNK = 1 << 20
MAX_RECEIVED = 1 << 32
"""Bytes that an answer may have: an output of a network."""


def send(stream: BinaryIO, message: Mapping[str, Any], payload: bytes = b"") -> None:
    send_header(stream, message, len(payload))
    stream.write(payload)
    stream.flush()


def send_header(stream: BinaryIO, message: Mapping[str, Any], num_bytes: int) -> None:
    """The line alone; the caller writes the bytes and flushes."""
    stream.write(json.dumps({**message, "bytes": num_bytes}).encode() + b"\n")


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Raises EOFError when the stream ends, and ValueError for a line that is no message or announces too much."""
    message, payload = receive_header(stream), io.BytesIO()
    if message["bytes"] > MAX_RECEIVED:
        raise ValueError(f"{message['bytes']} bytes are announced")
    Payload(stream, message["bytes"]).copy_to(payload)
    return message, payload.getvalue()


def receive_header(stream: BinaryIO) -> dict[str, Any]:
    line = stream.readline(MAX_LINE)
    if len(line) == MAX_LINE:
        raise ValueError(f"a line without an end: {line[:80]!r}")
    if not line.endswith(b"\n"):
        raise EOFError
    message = parse_object(line)
    if not is_length(message.get("bytes")):
        raise ValueError(f"not a message: {line[:80]!r}")
    return message


def is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Payload:
    """The bytes behind a line, which must all be read before the next line comes."""

    def __init__(self, stream: BinaryIO, num_bytes: int) -> None:
        self._stream = stream
        self._left = num_bytes

    def copy_to(self, target: BinaryIO) -> None:
        """Raises EOFError when the stream ends early."""
        while self._left:
            target.write(self._chunk())

    def drop(self) -> None:
        """Pass over what has not been copied."""
        while self._left:
            self._chunk()

    def _chunk(self) -> bytes:
        chunk = self._stream.read(min(CHUNK, self._left))
        if not chunk:
            raise EOFError
        self._left -= len(chunk)
        return chunk
