"""Temporary files and folders of work that was interrupted: their names say whose they are, so that they are cleared.

A file is `.FILE.MACHINE-PID-RANDOM.tmp`. It is cleared when its process is gone. One of another machine, of a boot
before this one, or of an earlier version is cleared after a day. A folder is `efficientformer-MACHINE-PID-RANDOM` in
the system's folder for temporary files. It is cleared when its process is gone. Standard library only.
"""

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FOREIGN_AFTER_S = 24 * 3600.0
MAX_STEM = 40
"""Characters of the file's own name, so that the temporary name is not too long where the own name just fits."""
_OWNED = re.compile(r"\.(?P<stem>.+)\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,10})-[0-9a-f]{8}\.tmp", re.DOTALL)
# Named by `tempfile` in earlier versions.
_UNOWNED = re.compile(r"\.(?P<stem>.+)\.[a-z0-9_]{8}\.tmp", re.DOTALL)
_FOLDER = re.compile(r"efficientformer-(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,10})-.+")
_writing: set[str] = set()


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A new, empty file next to `path`, removed at the end if it is still there. Raises OSError."""
    clear_leftovers(path.parent, path.name)
    temporary = path.with_name(temporary_name(path.name))
    _writing.add(temporary.name)
    try:
        os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        _writing.discard(temporary.name)


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """A new folder for files that nobody needs afterwards; the first one of a process clears those left behind."""
    _clear_folders()
    # A runtime may keep a file mapped into memory, which on some systems forbids removing it.
    prefix = f"efficientformer-{_machine()}-{os.getpid()}-"
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


@functools.cache
def _clear_folders() -> None:
    """Remove this user's folders whose process is gone. Those of other machines may be in use there."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            found = _FOLDER.fullmatch(entry.name)
            if found and found["machine"] == _machine() and not _is_running(int(found["pid"])):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode) and _is_own(status):
                        shutil.rmtree(entry.path, ignore_errors=True)


def temporary_name(name: str) -> str:
    return f".{name[:MAX_STEM]}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove temporary files whose writer is gone, of the file of that name or of all files in the folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _OWNED.fullmatch(entry.name) or _UNOWNED.fullmatch(entry.name)
            if found and (name is None or found["stem"] == name[:MAX_STEM]):
                with contextlib.suppress(OSError):
                    if _is_left_over(entry, found):
                        Path(entry).unlink()


def _is_left_over(entry: "os.DirEntry[str]", found: "re.Match[str]") -> bool:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or not _is_own(status):
        return False
    parts = found.groupdict()
    if parts.get("machine") == _machine():
        pid = int(parts["pid"])
        if pid == os.getpid():
            return entry.name not in _writing
        if not _is_running(pid):
            return True
    return time.time() - status.st_mtime > FOREIGN_AFTER_S


def _is_own(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # there, `os.kill` would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # someone else's
        return True
    return True


@functools.cache
def _machine() -> str:
    """Where numbers of processes mean the same: this machine since its last start, and this container."""
    about = [platform.node()]
    with contextlib.suppress(OSError):
        about.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        about.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:8]
