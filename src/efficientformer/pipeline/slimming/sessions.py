"""The sessions behind a promise: taken, kept on disk, pooled over attempts, until they decide.

A session opens the exported files and the largest network of the space anew and measures them interleaved. Every
session of a file counts, in later commands too: measuring a broken promise again adds sessions and raises the
confidence of the interval, so that luck does not keep it. An interrupted measurement continues with the session it was
at.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.formats.run import SessionLine, SessionValue
from efficientformer.journal import Journal
from efficientformer.latency.devices.programs import StartedForEachSample
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtime import Restarts, Runtime
from efficientformer.latency.timing.calm import WINDOW
from efficientformer.latency.timing.measure_networks import MAX_EXTENSION, Subject, measure_networks
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.latency.timing.repeated import NUM_SESSIONS, Repeated
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.measure import LARGEST, latency_with_largest
from efficientformer.pipeline.slimming.promise import Promise
from efficientformer.provenance import FINGERPRINT
from efficientformer.records import digest

FORMAT = "sessions of format 1"
NEW_PROCESSES, ONE_PROCESS = "new processes", "one process"
OpenAll = Callable[[Runtime], dict[str, Prepared]]
"""Opens the exported files and the largest network on a runtime, by name."""


@dataclass(frozen=True)
class Session:
    """The measurements of one session by name of the network; `digests` of the files, by the same names."""

    look: int
    digests: dict[str, str]
    measurements: dict[str, Measurement]

    def to_json(self) -> SessionValue:
        measurements: Any = {name: measurement.to_json() for name, measurement in self.measurements.items()}
        return {"look": self.look, "digests": self.digests, "measurements": measurements}

    @classmethod
    def from_json(cls, content: SessionValue) -> "Session":
        """Raises RecordError unless the largest network and each file were measured."""
        measurements = {name: Measurement.from_json(row) for name, row in content["measurements"].items()}
        if missing := {LARGEST, *content["digests"]} - set(measurements):
            raise RecordError(f"a session has no measurement of {min(missing)!r}")
        return cls(content["look"], content["digests"], measurements)


class SessionJournal:
    """Sessions on disk, of any files on any device; those of `about`, a digest of device and settings, count here."""

    def __init__(self, path: Path, about: str) -> None:
        self._journal, self._about = Journal(path, FORMAT, SessionLine), about
        lines = [line for line in self._journal.lines if line["of"] == about]
        try:
            self.sessions = [Session.from_json(line["session"]) for line in lines if "session" in line]
        except RecordError as error:
            raise RecordError(f"{path} cannot be used ({error}). Delete it to measure anew.") from error
        self._looked = max((line["looked"] for line in lines if "looked" in line), default=0)

    @property
    def look(self) -> int:
        """The number of the look that the next sessions are for."""
        return self._looked + 1

    def add(self, session: Session) -> None:
        self._journal.add({"of": self._about, "session": session.to_json()})
        self.sessions.append(session)

    def looked(self) -> None:
        """A verdict was reached on all sessions so far."""
        self._looked += 1
        self._journal.add({"of": self._about, "looked": self._looked})

    def repeated(self, digests: Mapping[str, str], name: str) -> dict[str, Repeated]:
        """The network called `name` and the largest, over all sessions that measured the same file."""
        found = [(session, key) for session in self.sessions for key in _names(session, digests[name])]
        look = len({session.look for session, _ in found})
        own = Repeated([session.measurements[key] for session, key in found], look)
        return {name: own, LARGEST: Repeated([session.measurements[LARGEST] for session, _ in found], look)}

    def num_taken(self, digests: Mapping[str, str], look: int) -> int:
        """Number of sessions of a look that measured all files."""
        return sum(
            session.look == look and set(digests.values()) <= set(session.digests.values()) for session in self.sessions
        )


def _names(session: Session, file_digest: str) -> Sequence[str]:
    """The name of the file in a session, where it was measured in it."""
    return [name for name, found in session.digests.items() if found == file_digest][:1]


class Sessions:
    """Sessions of the exported files called by the keys of `digests`, until the verdicts on `promises` are reached."""

    def __init__(self, workspace: Workspace, runtime: Runtime, open_all: OpenAll, digests: Mapping[str, str]) -> None:
        self._workspace, self._runtime, self._open_all = workspace, runtime, open_all
        self._digests = dict(digests)
        self._networks: dict[str, Prepared] = {}
        self.opened_in = NEW_PROCESSES
        path = workspace.run_dir.verified_sessions
        self.journal = SessionJournal(path, _about(workspace, runtime))
        if earlier := max(len(self.repeated(name)[name].sessions) for name in self._digests):
            workspace.console.say(
                f"{earlier} sessions of the same files were measured before and count as well; to start over, "
                f"delete {path}"
            )

    def repeated(self, name: str) -> dict[str, Repeated]:
        """The network called `name` and the largest (key `LARGEST`), over the sessions that measured the file."""
        return self.journal.repeated(self._digests, name)

    def measure(self, promises: Mapping[str, Promise]) -> None:
        """Take the sessions of one look, and while a verdict is open those of up to two more."""
        for _ in range(MAX_EXTENSION):
            look = self.journal.look
            while (taken := self.journal.num_taken(self._digests, look)) < NUM_SESSIONS:
                self._take(look, taken)
            self.journal.looked()
            if not any(self._is_open(name, promise) for name, promise in promises.items()):
                return

    def _is_open(self, name: str, promise: Promise) -> bool:
        measured = self.repeated(name)
        limit_ms = promise.limit_ms(measured[LARGEST].at(promise.percentile)[0])
        return promise.verdict(latency_with_largest(measured, name, promise), limit_ms) == "open"

    def _take(self, look: int, taken: int) -> None:
        settings, shape = self._workspace.settings, self._workspace.input_shape
        networks, rounds = self._reopened(), max(WINDOW, math.ceil(settings.verify.rounds / NUM_SESSIONS))
        with self._workspace.console.progress(f"session {taken + 1} of {NUM_SESSIONS}") as progress:
            measured = measure_networks(
                {name: Subject(prepared, self._runtime, shape) for name, prepared in networks.items()},
                settings.latency_clock,
                rounds,
                reference=LARGEST,
                most_rounds=rounds,
                least_rounds=WINDOW,
                seed=settings.seed + len(self.journal.sessions),
                progress=progress,
            )
        self.journal.add(Session(look, self._digests, measured))

    def _reopened(self) -> dict[str, Prepared]:
        """The networks, opened anew: in another process where there is one."""
        if not self._networks:
            self._networks = self._open_all(self._runtime)
        elif isinstance(self._runtime, Restarts):
            self._runtime.restart()
        elif not _starts_itself(self._networks):
            self._networks = {}
            self._networks = self._open_all(self._runtime)
        if not isinstance(self._runtime, Restarts) and not _starts_itself(self._networks):
            self.opened_in = ONE_PROCESS
        return self._networks


def _starts_itself(networks: Mapping[str, Prepared]) -> bool:
    return all(isinstance(network, StartedForEachSample) for network in networks.values())


def _about(workspace: Workspace, runtime: Runtime) -> str:
    """Of the device and the settings that samples depend on, without the number of rounds."""
    machine, settings = runtime.machine(), workspace.settings
    return digest(
        [
            {name: machine.get(name) for name in FINGERPRINT},
            runtime.describe(),
            settings.threads,
            settings.latency_clock,
            workspace.input_shape,
            workspace.space.largest().to_json(),
        ]
    )
