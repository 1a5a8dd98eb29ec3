"""What is in very many images, in arrays: digests, and which cannot be decoded; kept, so that none is read twice."""

import contextlib
import json
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import MOMENT_NS, Content, FileState, about_checks, changed_ns
from efficientformer.data.images import Progress, map_in_threads
from efficientformer.data.large.kept import write_arrays
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.errors import RecordError

_SAVE_EVERY_S = 60.0
_CHUNK, _STAT_CHUNK = 64, 1000
_NO_STATE = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Checks:
    """The checks of N images.

    states: (N, 4) int64, as `content.FileState`, of the files that they are in.
    checked_ns: (N,) int64, when each check began, 0 before.
    digests: (N, 32) uint8, SHA-256 of the contents; zeros of an image that cannot be read.
    problems: by position, why an image cannot be decoded.
    """

    files: Texts
    states: np.ndarray
    checked_ns: np.ndarray
    digests: np.ndarray
    problems: dict[int, str]

    @classmethod
    def none_of(cls, files: Texts) -> "Checks":
        states, checked_ns = np.zeros((len(files), 4), np.int64), np.zeros(len(files), np.int64)
        return cls(files, states, checked_ns, np.zeros((len(files), 32), np.uint8), {})

    def add(self, position: int, content: Content) -> None:
        self.states[position], self.checked_ns[position] = content.state, content.checked_ns
        if content.digest:
            self.digests[position] = np.frombuffer(bytes.fromhex(content.digest), np.uint8)
        if content.problem is not None:
            self.problems[position] = content.problem


def check_all(
    sources: Sequence[UndecodedSource], *, max_pixels: int, kept: Path | None = None, progress: Progress | None = None
) -> tuple[Checks, int]:
    """The checks of all images of these sources, one after another, and the number of those that were read now.

    max_pixels: the limit of the sources. kept: where checks are kept. It is written every minute, also if this is
        interrupted.
    progress: called with the number of images that were checked now, from 0 on, and of those to check.
    """
    images = _Joined(sources)
    about = about_checks(sources[0].root, max_pixels)
    checks = _still_valid(images, _read(kept, about))
    pending = np.flatnonzero(checks.checked_ns == 0).tolist()
    chunks = [pending[start : start + _CHUNK] for start in range(0, len(pending), _CHUNK)]
    saved, done = time.monotonic(), 0
    if progress is not None and pending:
        progress(0, len(pending))
    try:
        for chunk, contents in zip(chunks, map_in_threads(images.check, chunks, None), strict=True):
            for position, content in zip(chunk, contents, strict=True):
                checks.add(position, content)
            done += len(chunk)
            if progress is not None:
                progress(done, len(pending))
            if time.monotonic() - saved > _SAVE_EVERY_S:
                _write(kept, about, checks)
                saved = time.monotonic()
    finally:
        if pending:
            _write(kept, about, checks)
    return checks, len(pending)


class _Joined:
    """The images of several sources, one after another."""

    def __init__(self, sources: Sequence[UndecodedSource]) -> None:
        self._sources = sources
        self._starts = np.cumsum([0, *(len(source.files) for source in sources[:-1])]).tolist()
        self.files = Texts.concatenated([source.files for source in sources])

    def check(self, positions: Sequence[int]) -> list[Content]:
        return [source.check(index) for source, index in map(self._at, positions)]

    def states(self, positions: Sequence[int]) -> np.ndarray:
        """(n, 5) int64: the states of their files now, and when each was changed last."""
        states = [self._state(position) for position in positions]
        return np.array([(*state, changed_ns(state)) for state in states], np.int64).reshape(-1, 5)

    def _state(self, position: int) -> FileState:
        source, index = self._at(position)
        try:
            return source.state(index)
        except OSError:  # the check says why
            return _NO_STATE

    def _at(self, position: int) -> tuple[UndecodedSource, int]:
        place = bisect_right(self._starts, position) - 1
        return self._sources[place], position - self._starts[place]


def _still_valid(images: _Joined, earlier: Checks | None) -> Checks:
    """Earlier checks of those of the images whose files were not changed since."""
    checks, number = Checks.none_of(images.files), len(images.files)
    if earlier is None:
        return checks
    rows = _rows_of(images.files, earlier.files)
    chunks = [range(start, min(start + _STAT_CHUNK, number)) for start in range(0, number, _STAT_CHUNK)]
    now = np.concatenate([*map_in_threads(images.states, chunks, None)])
    is_valid = (rows >= 0) & (earlier.states[rows] == now[:, :4]).all(axis=1)
    is_valid &= now[:, 4] + MOMENT_NS < earlier.checked_ns[rows]
    valid_rows = rows[is_valid]
    checks.states[is_valid] = earlier.states[valid_rows]
    checks.checked_ns[is_valid] = earlier.checked_ns[valid_rows]
    checks.digests[is_valid] = earlier.digests[valid_rows]
    position_of = dict(zip(valid_rows.tolist(), np.flatnonzero(is_valid).tolist(), strict=True))
    problems = {position_of[row]: why for row, why in earlier.problems.items() if row in position_of}
    checks.problems.update(problems)
    return checks


def _rows_of(files: Texts, earlier: Texts) -> np.ndarray:
    """The position of each file in an earlier list, -1 for those that are not in it."""
    if files.joined == earlier.joined and np.array_equal(files.ends, earlier.ends):
        return np.arange(len(files))
    known = {file: row for row, file in enumerate(earlier)}
    return np.fromiter((known.get(file, -1) for file in files), np.int64, len(files))


def _read(kept: Path | None, about: dict[str, Any]) -> Checks | None:
    """None where there is nothing, about something else, or damaged."""
    if kept is None:
        return None
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            document = json.loads(arrays["about"].tobytes())
            if document["about"] != about:
                return None
            problems = {int(position): str(why) for position, why in document["problems"].items()}
            files = Texts(arrays["joined"].tobytes(), arrays["ends"])
            checks = Checks(files, arrays["states"], arrays["checked_ns"], arrays["digests"], problems)
        number = len(files)
        shapes = (checks.states.shape, checks.checked_ns.shape, checks.digests.shape)
        is_whole = shapes == ((number, 4), (number,), (number, 32)) and files.is_whole
        return checks if is_whole else None
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, BadZipFile):
        return None


def _write(kept: Path | None, about: dict[str, Any], checks: Checks) -> None:
    if kept is None:
        return
    document = {"about": about, "problems": checks.problems}
    arrays = {
        "about": np.frombuffer(json.dumps(document).encode(), np.uint8),
        "joined": np.frombuffer(checks.files.joined, np.uint8),
        "ends": checks.files.ends,
        "states": checks.states,
        "checked_ns": checks.checked_ns,
        "digests": checks.digests,
    }
    with contextlib.suppress(RecordError):  # a disk that is full: what is not kept is checked again
        write_arrays(kept, arrays)
