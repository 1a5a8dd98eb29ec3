"""Walk folders of pictures: links are followed, no folder is entered twice, and what is left out is named.

Names only: nothing is decoded here.
"""

import errno
import functools
import os
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from efficientformer.data.dataset import SkippedFile
from efficientformer.data.formats import extension_of, is_picture, is_read, why_not_read
from efficientformer.errors import DataError

# Thumbnails, recycle bins and other leavings of storage devices, operating systems and archives, in lower case.
_SYSTEM_NAMES = frozenset(
    {"@eadir", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot", "$recycle.bin", "recycler"}
    | {"system volume information", "lost+found", "found.000", "network trash folder", "temporary items"}
    | {"__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
)
# File systems that show the state of the operating system. Their links lead everywhere.
_SYSTEM_FOLDERS = ("/proc", "/sys")

NOT_IN_A_CLASS = "not in a class folder"

Identity = tuple[int, int]
FolderState = tuple[int, int, int]
"""Times of modification and of change in nanoseconds, and number on the disk: another one where files were added,
removed or renamed."""


@dataclass
class LeftOut:
    """What a walk did not read.

    skipped: pictures and folders, each with its reason.
    ignored: hidden and system files and folders, by name.
    others: files that are no pictures by their names, by extension.
    """

    skipped: list[SkippedFile] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    @classmethod
    def total(cls, *parts: "LeftOut") -> "LeftOut":
        """Of several walks together."""
        total = cls()
        for part in parts:
            total.add(part)
        return total

    def add(self, other: "LeftOut") -> None:
        self.skipped += other.skipped
        self.ignored += other.ignored
        self.others += other.others

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing but hidden and system files."""
        return not self.skipped and not self.others

    def notes(self) -> tuple[str, ...]:
        """What was left out without a reason of its own, a line for each kind."""
        notes = []
        if self.ignored:
            notes.append(f"ignored hidden and system files and folders: {_counted(self.ignored)}")
        if self.others:
            notes.append(f"ignored files that are no pictures by their names: {_counted(self.others)}")
        return tuple(notes)

    def in_words(self) -> str:
        """Why nothing was found."""
        reasons = Counter(skipped.reason for skipped in self.skipped)
        parts = [f"{count:,} skipped ({reason})" for reason, count in reasons.most_common(3)]
        if self.others:
            parts.append(f"no pictures by their names: {_counted(self.others)}")
        if not parts and self.ignored:
            return f"nothing but hidden and system files and folders: {_counted(self.ignored)}"
        return "; ".join(parts) or "it is empty"


@dataclass
class Walk:
    """The pictures below folders in `root`; paths are named relative to `root`. Links out of it are followed.

    folders: those that `pictures` entered, and their states before they were listed.
    """

    root: Path
    left_out: LeftOut = field(default_factory=LeftOut)
    folders: dict[str, FolderState] = field(default_factory=dict)

    def top(self, folder: Path) -> tuple[list[Path], list[str]]:
        """Folders and readable pictures directly in `folder`, sorted. Raises DataError if it cannot be listed."""
        folders, pictures = [], []
        try:
            if _is_of_system(folder.stat().st_dev):
                raise DataError(f"{folder} belongs to the operating system and holds no images.")
            for path, is_folder, _ in self._entries(folder):
                (folders if is_folder else pictures).append(path)
        except OSError as error:
            raise DataError(f"{folder} cannot be listed: {error.strerror}. Check its permissions.") from error
        return sorted(Path(path) for path in folders), sorted(pictures)

    def pictures(self, folder: Path) -> Iterator[str]:
        """Paths of the readable pictures below `folder`, at any depth, in no order.

        A folder that is reached on several ways counts once, without a link if there is such a way.
        """
        entered = dict.fromkeys(self._above(folder), "a link that leads back up")
        real, linked = deque([str(folder)]), list[str]()
        while real or linked:
            path = real.popleft() if real else heappop(linked)
            try:
                if not self._enter(path, entered):
                    continue
                for below, is_folder, is_link in self._entries(path):
                    if not is_folder:
                        yield below
                    elif is_link:
                        heappush(linked, below)
                    else:
                        real.append(below)
            except OSError as error:
                self._skip(path, f"a folder that cannot be read: {reason_of(error)}")

    def holds_pictures(self, folder: Path) -> bool:
        """Whether there is a picture at any depth, also one that is not read."""
        return any(True for _ in self.pictures(folder)) or self._skipped_pictures()

    def has_pictures(self, folder: Path) -> bool:
        """Whether a picture lies directly in `folder`, read or not."""
        try:
            seen = any(not is_folder for _, is_folder, _ in self._entries(folder))
        except OSError:
            return False
        return seen or self._skipped_pictures()

    def _skipped_pictures(self) -> bool:
        return any(is_picture(extension_of(skipped.file)) for skipped in self.left_out.skipped)

    def _above(self, folder: Path) -> set[Identity]:
        """The folders around `folder`: a link to one of them would lead in a circle."""
        real, root = folder.resolve(), self.root.resolve()
        above = {*real.parents} if folder == self.root else {*real.parents, root, *root.parents}
        return {identity for path in above if (identity := _identity(path)) is not None}

    def _enter(self, path: str, entered: dict[Identity, str]) -> bool:
        status = os.stat(path)  # noqa: PTH116 - the path is a plain string
        identity = status.st_dev, status.st_ino
        if _is_of_system(status.st_dev):
            self._skip(path, "a folder of the operating system")
        elif identity in entered:
            self._skip(path, entered[identity])
        else:
            entered[identity] = "a link to a folder that is read already"
            self.folders[path] = _state(status)
            return True
        return False

    def _entries(self, folder: Path | str) -> Iterator[tuple[str, bool, bool]]:
        """(path, is a folder, is a link) of the folders and readable pictures in a folder; notes everything else."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_ignored(entry.name):
                    self._ignore(entry)
                elif (is_folder := self._is_folder(entry)) is not None:
                    yield entry.path, is_folder, entry.is_symlink()

    def _is_folder(self, entry: os.DirEntry[str]) -> bool | None:
        """True for a folder, False for a readable picture, None for everything else, which is noted."""
        extension = extension_of(entry.name)
        try:
            is_folder = entry.is_dir()
            is_file = not is_folder and entry.is_file()
        except OSError as error:
            return self._skip(entry.path, reason_of(error))
        if not is_folder and not is_file and entry.is_symlink():
            return self._skip(entry.path, "a link to a file or folder that does not exist")
        if not is_folder and not is_picture(extension):
            self.left_out.others[composed(extension) or "without extension"] += 1
            return None
        if not _is_text(entry.name):
            return self._skip(entry.path, "its name is not UTF-8; rename it")
        if is_folder:
            return True
        if not is_file:
            return self._skip(entry.path, "not a regular file")
        return False if is_read(extension) else self._skip(entry.path, f"{why_not_read(extension)}")

    def _ignore(self, entry: os.DirEntry[str]) -> None:
        try:
            is_folder = entry.is_dir()
        except OSError:
            return
        if is_folder:
            self.left_out.ignored[f"{composed(entry.name)}/"] += 1
        elif is_picture(extension_of(entry.name)):
            self.left_out.ignored["hidden pictures"] += 1

    def _skip(self, path: str, reason: str) -> None:
        self.left_out.skipped.append(SkippedFile(shown(self.root, path), reason))


@dataclass(frozen=True)
class FoundImages:
    """The pictures below a folder in the order of their paths, and what was left out."""

    files: list[Path]
    left_out: LeftOut


def find_images(folder: Path) -> FoundImages:
    """Every readable picture below a folder; hidden and system folders are left out.

    Raises DataError when the folder cannot be listed.
    """
    Walk(folder).top(folder)
    walk = Walk(folder)
    files = sorted(Path(path) for path in walk.pictures(folder))
    walk.left_out.skipped.sort(key=lambda skipped: skipped.file)
    return FoundImages(files, walk.left_out)


def folder_state(folder: str) -> FolderState | None:
    """None for a folder that is gone or may not be looked at."""
    try:
        return _state(os.stat(folder))  # noqa: PTH116 - as above
    except OSError:
        return None


def _state(status: os.stat_result) -> FolderState:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def reason_of(error: OSError) -> str:
    return "a link that leads to itself" if error.errno == errno.ELOOP else error.strerror or str(error)


def shown(root: Path, path: str) -> str:
    """A path relative to `root` for people and records: composed Unicode, forward slashes, no undecodable bytes."""
    return composed(relative(root, path))


def relative(root: Path, path: str) -> str:
    """A path relative to `root`, with forward slashes."""
    # Text is cut, since a `Path` for each file takes most of the time of a walk.
    start = f"{root}/"
    return path[len(start) :] if path.startswith(start) else Path(path).relative_to(root).as_posix()


def composed(name: str) -> str:
    """A name for people and records: composed Unicode, no undecodable bytes."""
    if name.isascii():
        return name
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", errors="backslashreplace"))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _is_of_system(device: int) -> bool:
    return device in _devices_of_system()


@functools.cache
def _devices_of_system() -> set[int]:
    folders = [Path(folder) for folder in _SYSTEM_FOLDERS]
    return {folder.stat().st_dev for folder in folders if folder.is_mount()}


def _identity(folder: Path) -> Identity | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _counted(counts: Counter[str], limit: int = 5) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = [name if count == 1 else f"{name} ({count:,})" for name, count in ordered[:limit]]
    more = f" and {len(counts) - limit} more kinds" if len(counts) > limit else ""
    return ", ".join(names) + more
