"""What is in very many files, in arrays: digests, and which cannot be decoded; kept, so that no file is read twice."""

import contextlib
import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import MOMENT_NS, Content, about_checks, changed_ns, check_file, file_state
from efficientformer.data.images import Progress, map_in_threads
from efficientformer.data.large.kept import write_arrays
from efficientformer.errors import RecordError

_SAVE_EVERY_S = 60.0
_CHUNK, _STAT_CHUNK = 64, 1000
_NO_STATE = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Checks:
    """The checks of N files.

    states: (N, 4) int64, as `content.FileState`. checked_ns: (N,) int64, when each check began, 0 before.
    digests: (N, 32) uint8, SHA-256 of the contents; zeros of a file that cannot be read.
    problems: by position, why a file cannot be decoded.
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
    root: Path, files: Texts, *, max_pixels: int, kept: Path | None = None, progress: Progress | None = None
) -> tuple[Checks, int]:
    """The checks of all files, named relative to `root`, and the number of those that were read now.

    kept: where checks are kept. It is written every minute, also if this is interrupted.
    progress: called with the number of files that were checked now, from 0 on, and of those to check.
    """
    about = about_checks(root, max_pixels)
    checks = _still_valid(root, files, _read(kept, about))
    pending = np.flatnonzero(checks.checked_ns == 0).tolist()
    chunks = [pending[start : start + _CHUNK] for start in range(0, len(pending), _CHUNK)]
    check_chunk = functools.partial(_check_chunk, root, files, max_pixels)
    saved, done = time.monotonic(), 0
    if progress is not None and pending:
        progress(0, len(pending))
    try:
        for chunk, contents in zip(chunks, map_in_threads(check_chunk, chunks, None), strict=True):
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


def _check_chunk(root: Path, files: Texts, max_pixels: int, positions: list[int]) -> list[Content]:
    return [check_file(root, max_pixels, files[position]) for position in positions]


def _still_valid(root: Path, files: Texts, earlier: Checks | None) -> Checks:
    """Earlier checks of those of the files that were not changed since."""
    checks = Checks.none_of(files)
    if earlier is None:
        return checks
    rows = _rows_of(files, earlier.files)
    starts = range(0, len(files), _STAT_CHUNK)
    now = np.concatenate([*map_in_threads(functools.partial(_states, root, files), starts, None)])
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


def _states(root: Path, files: Texts, start: int) -> np.ndarray:
    """(n, 5) int64: the states of some files now, and when each was changed last."""
    states: list[tuple[int, ...]] = []
    for file in files[start : start + _STAT_CHUNK]:
        try:
            state = file_state(f"{root}/{file}")
        except OSError:  # the check says why
            state = _NO_STATE
        states.append((*state, changed_ns(state)))
    return np.array(states, np.int64)


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
