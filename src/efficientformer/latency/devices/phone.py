"""An Android phone behind `adb`: which one, what it is, files on it, commands in its shell."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficientformer.errors import LatencyError
from efficientformer.latency.devices.programs import Finished, run_program
from efficientformer.latency.worker.answers import machine_problem
from efficientformer.records import file_digest

FOLDER = "/data/local/tmp/efficientformer"
TIMEOUT_S = 60.0
SLOWEST_BYTES_PER_S = 50_000.0
REMEDY = "Install Android's platform-tools and see that adb is on the PATH."
PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.model",
    "ro.board.platform",
    "ro.product.cpu.abi",
    "ro.build.version.release",
)
NOT_READY = {
    "unauthorized": "has not allowed this computer to debug it: accept the question on its screen",
    "offline": "is offline: unplug it, plug it in again and unlock it",
    "no permissions": "may not be opened by this user: see `adb devices` for the udev rule it needs",
}


class Phone:
    """The phone with that serial number, or the only one there is. Raises LatencyError when it is not ready."""

    def __init__(self, serial: str | None = None) -> None:
        self.serial = _choose(_attached(), serial)

    def shell(self, script: str, *, timeout_s: float = TIMEOUT_S) -> Finished:
        """Run a line of shell on the phone. Raises LatencyError when the phone has gone, not when the line fails."""
        done = self._adb("shell", script, timeout_s=timeout_s)
        if done.code != 0:
            self._check_attached(done)
        return done

    def push(self, path: Path) -> str:
        """The path on the phone of a copy, named by its content and there already when it was pushed before."""
        target = f"{FOLDER}/{file_digest(path)[:20]}{path.suffix}"
        if self.shell(f"[ -f {target} ]").code == 0:
            return target
        # A push that breaks off must not leave a file that looks whole.
        arriving = f"{target}.arriving"
        self._must(self.shell(f"mkdir -p {FOLDER}"), f"cannot make {FOLDER}")
        timeout_s = TIMEOUT_S + path.stat().st_size / SLOWEST_BYTES_PER_S
        pushed = self._adb("push", str(path), arriving, timeout_s=timeout_s)
        if pushed.code != 0:
            self._check_attached(pushed)
        self._must(pushed, "takes no more files")
        self._must(self.shell(f"mv {arriving} {target}"), "lost a file that was pushed to it")
        return target

    def program_version(self, program: str) -> str:
        """A program's version: the beginning of its digest. Raises LatencyError when the program is missing."""
        path = shlex.quote(program)
        if self.shell(f"[ -x {path} ]").code != 0:
            name = program.rpartition("/")[2]
            raise LatencyError(
                f"{program} is not on the phone {self.serial}, or may not be run there. Build or download {name} for "
                f"Android, `adb push {name} {program}` and `adb shell chmod +x {program}`, or give its place by "
                "--device-program."
            )
        done = self.shell(f"sha256sum {path}")
        self._must(done, f"cannot read {program}")
        found = re.match(r"\s*([0-9a-f]{64})\b", done.stdout)
        if found is None:
            raise LatencyError(f"The phone {self.serial} gives no digest of {program}: {done.last_words()}")
        return f"sha256 {found[1][:12]}"

    def machine(self) -> dict[str, Any]:
        """{cpu, cores, memory_gib, os, model}: the parts of `provenance.machine` that identify a phone."""
        asked = "; ".join(f"echo {name}=$(getprop {name})" for name in PROPERTIES)
        done = self.shell(f"{asked}; cat /proc/meminfo; cat /proc/cpuinfo")
        self._must(done, "does not report its model")
        if not re.search(r"^ro\.build\.version\.release=\S", done.stdout, re.MULTILINE):
            raise LatencyError(f"The phone {self.serial} does not report its version of Android: {done.last_words()}")
        machine = _machine(done.stdout)
        if problem := machine_problem(machine):
            raise LatencyError(f"The phone {self.serial} reports {problem}: {done.last_words()}")
        return machine

    def _adb(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> Finished:
        return run_program(["adb", "-s", self.serial, *arguments], timeout_s=timeout_s, remedy=REMEDY)

    def _check_attached(self, done: Finished) -> None:
        if _attached().get(self.serial) != "device":
            raise LatencyError(
                f"The phone {self.serial} has gone: {done.last_words(1)}. Connect it again and run the same command: "
                "finished rounds are kept."
            )

    def _must(self, done: Finished, problem: str) -> None:
        if done.code != 0:
            raise LatencyError(f"The phone {self.serial} {problem}: {done.last_words()}")


def _attached() -> dict[str, str]:
    """State of every phone that adb knows, by serial number."""
    done = run_program(["adb", "devices"], timeout_s=TIMEOUT_S, remedy=REMEDY)
    if done.code != 0:
        raise LatencyError(f"adb does not work: {done.last_words()}")
    lines = [line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line]
    return {serial: state.strip() for serial, state in lines}


def _choose(attached: Mapping[str, str], serial: str | None) -> str:
    phones = ", ".join(f"{name} ({state})" for name, state in attached.items())
    if not attached:
        raise LatencyError("adb sees no phone. Connect one and turn USB debugging on in its developer options.")
    if serial is None and len(attached) > 1:
        raise LatencyError(f"adb sees several phones: {phones}. Choose one with --device adb:SERIAL.")
    serial = serial or next(iter(attached))
    if serial not in attached:
        raise LatencyError(f"adb sees no phone {serial}, only {phones}.")
    for state, problem in NOT_READY.items():
        if attached[serial].startswith(state):
            raise LatencyError(f"The phone {serial} {problem}.")
    if attached[serial] != "device":
        raise LatencyError(f"The phone {serial} is in the state {attached[serial]!r}: start it and unlock it.")
    return serial


def _machine(text: str) -> dict[str, Any]:
    properties = dict(re.findall(r"^(ro\.[\w.]+)=(.*)$", text, re.MULTILINE))
    # Kinds of cores, as "0xd46 x 4": phones mix fast and slow ones.
    parts = re.findall(r"^CPU part\s*:\s*(\S+)", text, re.MULTILINE)
    kinds = ", ".join(f"{part} x {parts.count(part)}" for part in dict.fromkeys(parts))
    chip = " ".join(filter(None, (properties.get("ro.soc.model"), properties.get("ro.board.platform"))))
    memory = re.search(r"^MemTotal:\s*(\d{1,12}) kB", text, re.MULTILINE)
    return {
        "cpu": f"{chip or 'unknown chip'} ({kinds})" if kinds else chip or "unknown chip",
        "cores": len(re.findall(r"^processor\s*:", text, re.MULTILINE)) or None,
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "os": f"Android {properties.get('ro.build.version.release')} {properties.get('ro.product.cpu.abi')}",
        "model": f"{properties.get('ro.product.manufacturer')} {properties.get('ro.product.model')}",
    }
