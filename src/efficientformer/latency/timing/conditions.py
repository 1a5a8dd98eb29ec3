"""The state of the machine before and after a measurement, to explain differences. Standard library only.

Nothing here is needed to measure; values that a system does not report are None.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Protocol, runtime_checkable

from efficientformer.latency.runtime import Runtime
from efficientformer.provenance import differences, load_average, machine

ROOT = Path("/")
RESET_PEAK = "5"


@runtime_checkable
class Conditioned(Protocol):
    """A runtime on another machine, or in another process, that reports the conditions there."""

    def conditions(self) -> dict[str, Any]: ...


def conditions(root: Path = ROOT) -> dict[str, Any]:
    """{load, governor, frequency_mhz, temperature_c, involuntary_switches} of this machine and process, right now.

    `frequency_mhz` is the mean over the cores, `temperature_c` the hottest sensor, `involuntary_switches` how often
    the system took a core away from this process since its start.
    """
    cores = root / "sys/devices/system/cpu"
    governors = _texts(cores, "cpu[0-9]*/cpufreq/scaling_governor")
    frequencies = [khz / 1e3 for khz in _numbers(cores, "cpu[0-9]*/cpufreq/scaling_cur_freq")] or _cpuinfo_mhz(root)
    sensors = root / "sys/class"
    millidegrees = _numbers(sensors, "thermal/thermal_zone*/temp") + _numbers(sensors, "hwmon/hwmon*/temp*_input")
    return {
        "load": load_average(),
        "governor": ", ".join(sorted(set(governors))) or None,
        "frequency_mhz": round(mean(frequencies)) if frequencies else None,
        "temperature_c": round(max(millidegrees) / 1e3, 1) if millidegrees else None,
        "involuntary_switches": _involuntary_switches(),
    }


def conditions_at(runtime: Runtime) -> dict[str, Any] | None:
    """Conditions where the runtime's networks run; None on another machine that does not report them."""
    if isinstance(runtime, Conditioned):
        return runtime.conditions()
    return None if differences(machine(), runtime.machine()) else conditions()


@dataclass
class MemoryGrowth:
    """Peak growth of this process's resident memory in MiB; None where the system does not report it."""

    peak_mib: float | None = None


@contextlib.contextmanager
def memory_growth(root: Path = ROOT) -> Iterator[MemoryGrowth]:
    """Watch the resident memory while a block runs, such as one that opens a network and runs it once.

    The growth is a network's weights, plans and buffers only if the process does nothing else and has no freed memory
    to reuse: true of workers, not of a process that exported the network before.
    """
    growth = MemoryGrowth()
    with contextlib.suppress(OSError):
        (root / "proc/self/clear_refs").write_text(RESET_PEAK)
    before, peak_before = _resident_mib(root)
    yield growth
    after, peak = _resident_mib(root)
    if before is not None and after is not None:
        is_new_peak = peak is not None and peak_before is not None and peak > peak_before
        growth.peak_mib = round(max((peak if is_new_peak and peak else after) - before, 0.0), 2)


def _resident_mib(root: Path) -> tuple[float | None, float | None]:
    """Resident memory now, and its highest since it was reset."""
    fields = dict.fromkeys(("VmRSS", "VmHWM"))
    for text in _texts(root, "proc/self/status"):
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name in fields:
                fields[name] = int(value.split()[0]) / 1024
    return fields["VmRSS"], fields["VmHWM"]


def _texts(folder: Path, pattern: str) -> list[str]:
    texts = []
    for path in sorted(folder.glob(pattern)):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            texts.append(path.read_text(encoding="utf-8").strip())
    return texts


def _numbers(folder: Path, pattern: str) -> list[float]:
    numbers = []
    for text in _texts(folder, pattern):
        with contextlib.suppress(ValueError):
            numbers.append(float(text))
    return numbers


def _cpuinfo_mhz(root: Path) -> list[float]:
    lines = [line for text in _texts(root, "proc/cpuinfo") for line in text.splitlines()]
    return [float(line.partition(":")[2]) for line in lines if line.lower().startswith("cpu mhz")]


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
