"""The key by which this user's own records are known. It is kept outside of run directories, which are shared.

It lies in the user's configuration folder (see `paths.user_folder`). Nobody else may read it.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Any

from efficientformer.errors import EfficientFormerError
from efficientformer.paths import user_folder

NUM_BYTES = 32


class KeyUnusableError(EfficientFormerError):
    """A key that is damaged, that others may read, or that cannot be made or read."""


def sign(content: Any) -> str:
    """Signature of a JSON value by this user's key, which is made on first need. Raises KeyUnusableError."""
    path = _path()
    return _signature(_read(path) or _make(path), content)


def is_signed(content: Any, signature: Any) -> bool:
    """Whether `signature` is this user's signature of the value. Raises KeyUnusableError for a key that is no key."""
    key = _read(_path())
    if key is None or not isinstance(signature, str):
        return False
    return hmac.compare_digest(_signature(key, content).encode(), signature.encode(errors="replace"))


def _signature(key: bytes, content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()


def _path() -> Path:
    try:
        return user_folder("config") / "key"
    except RuntimeError as error:
        raise KeyUnusableError("This user has no home folder to keep a key in.") from error


def _read(path: Path) -> bytes | None:
    """The key; None if there is none yet."""
    try:
        with path.open("rb") as stream:
            status, text = os.fstat(stream.fileno()), stream.read(4 * NUM_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise KeyUnusableError(f"The key {path} cannot be read: {error.strerror or error}.") from error
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)):
        raise KeyUnusableError(f"The key {path} can be read by others. Remove it to have a new one made.")
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(text.decode("ascii"))
        if len(key) == NUM_BYTES:
            return key
    raise KeyUnusableError(f"The key {path} is damaged. Remove it to have a new one made.")


def _make(path: Path) -> bytes:
    """A new key, or that of another process that made one at the same moment."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".key.")  # readable by this user alone
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(NUM_BYTES) + "\n")
            _place(Path(name), path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise KeyUnusableError(f"The key {path} cannot be made: {error.strerror or error}.") from error
    key = _read(path)
    if key is None:
        raise KeyUnusableError(f"The key {path} cannot be made: it has gone again.")
    return key


def _place(made: Path, path: Path) -> None:
    """Give the file its name unless another process was faster."""
    try:
        path.hardlink_to(made)
    except FileExistsError:
        pass
    except OSError:  # no hard links on this file system
        made.replace(path)
