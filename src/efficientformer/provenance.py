"""Provenance: which machine, which versions, when, under what load. Standard library only.

A measurement means nothing without the machine it was taken on, so every record carries this.
"""

import datetime
import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = (
    *("efficientformer", "torch", "torchvision", "timm", "onnx", "onnxruntime", "numpy", "scipy", "safetensors"),
    *("openvino", "mnn", "ncnn", "pnnx", "ai-edge-litert", "tensorrt"),
)
# What identifies a device; memory and Python do not change how fast a network runs.
FINGERPRINT = ("cpu", "cores", "os")
GIT_TIMEOUT_S = 5


def machine() -> dict[str, Any]:
    """The device: {cpu, cores, memory_gib, os, python}; `memory_gib` is None where it is unknown."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "memory_gib": _memory_gib(),
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def provenance(device: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Where a record comes from: {machine, versions, revision, time, load, command}; `machine` is `device`, by default
    the machine that runs this.

    Versions are read from package metadata, so no package is imported. `revision` is the commit of the code (see
    `revision`), `time` is ISO 8601 in UTC, `load` the mean number of running processes over the last minute (None where
    unknown), `command` the command line without the folder of the program.
    """
    return {
        "machine": machine() if device is None else dict(device),
        "versions": _versions(),
        "revision": revision(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load": load_average(),
        "command": shlex.join([*_program(Path(sys.argv[0])), *sys.argv[1:]]),
    }


def _program(path: Path) -> list[str]:
    return ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name]


@functools.cache
def revision() -> str | None:
    """Commit of the checkout that this package lies in, with `+changes` if tracked files differ from it.

    None for a package that was installed without git. Only a repository that tracks this very file is trusted: a
    repository further up, such as one that holds a virtual environment, describes other code. Cached, since a
    process keeps running the code that it started with.
    """
    try:
        own = Path(__file__).resolve(strict=True)
        _git(own.parent, "cat-file", "-e", f"HEAD:./{own.name}")
        commit = _git(own.parent, "rev-parse", "HEAD")
        changes = _git(own.parent, "status", "--porcelain", "--untracked-files=no")
    except (NameError, OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changes else commit


def _git(folder: Path, *arguments: str) -> str:
    # Without the variables that a hook sets, such as GIT_DIR, and without locking the index for other programs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
    )
    return done.stdout.strip()


def load_average() -> float | None:
    """Mean number of running processes over the last minute; None on systems that do not count them."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """How two machines differ, each as "cpu is X, recorded was Y"; empty for the same kind of device."""
    return [
        f"{name} is {here.get(name)}, recorded was {recorded.get(name)}"
        for name in FINGERPRINT
        if here.get(name) != recorded.get(name)
    ]


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if name := _name_from_cpuinfo(text):
        return name
    if sys.platform == "darwin":
        return _mac_cpu_name() or platform.machine()
    return platform.processor() or platform.machine() or "unknown"


def _name_from_cpuinfo(text: str) -> str | None:
    """Model name with family and model number: virtual machines often give every chip of a maker the same name."""
    fields = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    name = fields.get("model name") or fields.get("hardware")
    if name and fields.get("cpu family"):
        return f"{name} (family {fields['cpu family']}, model {fields.get('model', '?')})"
    if name is None and fields.get("cpu part"):
        return f"{platform.machine()} implementer {fields.get('cpu implementer', '?')} part {fields['cpu part']}"
    return name


def _mac_cpu_name() -> str | None:
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None
