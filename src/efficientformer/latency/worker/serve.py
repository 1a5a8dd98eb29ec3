"""The far side: one thread that opens networks on a runtime, samples them on request, and answers.

The thread that reads requests also runs the networks, so with one thread its CPU time is theirs.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from efficientformer.errors import EfficientFormerError, LatencyError, RecordError
from efficientformer.latency.prepared import Calls, Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.runtimes import open_in_process
from efficientformer.latency.timing.conditions import conditions, memory_growth
from efficientformer.latency.timing.timer import gc_off_and_pinned
from efficientformer.latency.worker.answers import MAX_TEXT
from efficientformer.latency.worker.messages import CHUNK, Payload, receive_header, send
from efficientformer.latency.worker.packages import PACKAGES
from efficientformer.records import atomic_path

KEPT_S = 24 * 3600.0
Answer = tuple[Mapping[str, Any], bytes]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until they end."""
    worker = _Worker(requests)
    with contextlib.suppress(EOFError):
        while True:
            request = receive_header(requests)
            answer, payload = worker.answer(request)
            send(answers, {**answer, "number": request.get("number")}, payload)
    worker.release()


class _Worker:
    """One handler per request, named for it; each answers with a message and bytes."""

    def __init__(self, requests: BinaryIO) -> None:
        self._requests = requests
        self._runtime: Runtime | None = None
        self._networks: dict[int, Prepared] = {}
        self._pinning = contextlib.ExitStack()
        self._is_pinned = False
        self._used: set[Path] = set()

    def answer(self, request: dict[str, Any]) -> Answer:
        try:
            return getattr(self, f"_{request['op']}")(request)
        except EfficientFormerError as error:
            return {"error": str(error)[:MAX_TEXT]}, b""
        except EOFError:
            raise
        except Exception as error:  # Whatever a runtime raises is an answer, not the end of the worker.
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"[:MAX_TEXT]}, b""

    def release(self) -> None:
        self._networks.clear()
        self._pinning.close()

    def _hello(self, request: dict[str, Any]) -> Answer:
        self._runtime = _runtime(request["runtime"], request["threads"])
        runtime = self._runtime
        return {"machine": runtime.machine(), "runtime": runtime.describe(), "suffixes": runtime.suffixes}, b""

    def _conditions(self, request: dict[str, Any]) -> Answer:
        return conditions(), b""

    def _has(self, request: dict[str, Any]) -> Answer:
        path = self._path(request)
        return {"has": path.exists(), "path": str(path)}, b""

    def _put(self, request: dict[str, Any]) -> Answer:
        payload = Payload(self._requests, request["bytes"])
        try:
            self._receive(payload, self._path(request), request["digest"])
        finally:
            payload.drop()
        return {}, b""

    def _receive(self, payload: Payload, path: Path, digest: str) -> None:
        try:
            with atomic_path(path) as temporary:
                with temporary.open("wb") as stream:
                    payload.copy_to(stream)
                if _sha256(temporary) != digest:
                    raise LatencyError(f"{path.name} was damaged on its way. Run the same command again.")
        except RecordError as error:
            cause = error.__cause__ or error
            raise LatencyError(f"The worker cannot keep {path}: {cause}. Free some space there.") from error

    def _open(self, request: dict[str, Any]) -> Answer:
        self._unpin()
        assert self._runtime is not None
        with memory_growth() as growth:
            self._networks[request["id"]] = self._runtime.open(Path(request["path"]), tuple(request["input_shape"]))
        return {"memory_mib": growth.peak_mib}, b""

    def _sample(self, request: dict[str, Any]) -> Answer:
        assert self._runtime is not None
        if not self._is_pinned:
            self._pinning.enter_context(gc_off_and_pinned(pinned=self._runtime.threads == 1))
            self._is_pinned = True
        calls = Calls(request["settling"], request["timed"])
        return {"ms": self._networks[request["id"]].sample(calls, request["clock"])}, b""

    def _output(self, request: dict[str, Any]) -> Answer:
        output = np.ascontiguousarray(self._networks[request["id"]].output())
        return {"dtype": output.dtype.str, "shape": output.shape}, output.tobytes()

    def _close(self, request: dict[str, Any]) -> Answer:
        self._networks.pop(request["id"], None)
        return {}, b""

    def _bye(self, request: dict[str, Any]) -> Answer:
        """Files stay behind when a connection is lost, for the next one; not when all is done."""
        self.release()
        for folder in self._used:
            shutil.rmtree(folder, ignore_errors=True)
        return {}, b""

    def _unpin(self) -> None:
        """Free the thread for opening a network, which may use every core; the next sample pins it again."""
        self._pinning.close()
        self._is_pinned = False

    def _path(self, request: dict[str, Any]) -> Path:
        if not self._used:
            _remove_old_files()
        folder = _kept_files() / Path(request["folder"]).name
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        self._used.add(folder)
        return folder / Path(request["name"]).name


def _runtime(name: str, threads: int) -> Runtime:
    module, package = PACKAGES[name]
    if importlib.util.find_spec(module) is None:
        raise LatencyError(f"{sys.executable} has no {module}. Run there: {sys.executable} -m pip install {package}")
    return open_in_process(name, threads)


def _sha256(path: Path) -> str:
    """As `records.file_digest`, for Pythons before 3.11."""
    content = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            content.update(chunk)
    return content.hexdigest()


def _kept_files() -> Path:
    """This user's folder of received files; refused when another user made it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"efficientformer-worker-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or (user and status.st_uid != user) or status.st_mode & 0o022:
        raise LatencyError(f"{folder} belongs to someone else. Remove it, or set TMPDIR to another folder.")
    return folder


def _remove_old_files() -> None:
    for folder in _kept_files().iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > KEPT_S:
                shutil.rmtree(folder)
