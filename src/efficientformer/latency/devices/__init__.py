"""Devices that networks are timed on: this machine, another Python, a board, a phone, or any program.

A device is a `Runtime` whose networks run elsewhere. To add one, write a file and a case in `open_device`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict

from efficientformer.errors import UsageError
from efficientformer.latency.clock import Clock
from efficientformer.latency.runtime import ACCELERATORS, Runtime
from efficientformer.latency.runtimes import open_in_process, usable

LOCAL = "local"
CRASHING = frozenset({"ncnn"})
"""Runtimes that may crash on a network they do not support, so they get a process of their own."""
FORMS = """\
  local              this machine, in this process
  python:PATH        this machine, by another Python that has the runtime, such as python:/opt/edge/bin/python
  ssh:USER@HOST      a machine with Python and the runtime, reached by ssh; ssh:USER@HOST:PATH names the Python
  adb, adb:SERIAL    an Android phone on a cable, with the runtime's benchmark program on it
  command:PROGRAM    any program that times a model file and prints JSON, such as command:./bench.sh"""


@dataclass(frozen=True)
class StartsProgram:
    """Marks a setting that starts a program or loads code, here or elsewhere; its `harmless` values do not.

    A run uses such a setting only if it is known that its user named it.
    """

    harmless: tuple[str, ...] = ()

    def starts(self, value: Any) -> bool:
        return value is not None and value not in self.harmless


class DeviceOptions(BaseModel):
    """The device that networks are timed on, and what it takes to reach it.

    Groups of settings that name a device derive from this one; the texts are the help of the command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Annotated[str, StartsProgram(harmless=(LOCAL,))] = LOCAL
    """local, python:PATH, ssh:USER@HOST, adb or command:PROGRAM. Where networks are timed, see docs/devices.md. python
    is another environment here, adb or adb:SERIAL a phone, command any program that prints JSON."""
    device_program: Annotated[str | None, StartsProgram()] = None
    """Benchmark program on the phone. By default its usual name in /data/local/tmp."""
    device_cores: str | None = None
    """Cores of the phone, as a mask such as f0. For taskset, in hexadecimal."""
    litert_python: Annotated[str | None, StartsProgram()] = None
    """Python with litert-torch, if not this one. It makes the files for runtime litert."""


def open_runtime(name: str, threads: int = 1) -> Runtime:
    """The runtime of that name on this machine; one of `CRASHING` runs in another process.

    Raises UsageError for an unknown runtime or a number of threads that it does not support, LatencyError when its
    package or device is missing here.
    """
    if name not in CRASHING:
        return open_in_process(name, threads)
    from efficientformer.latency.worker.local import local_worker

    with usable(name, threads):
        return local_worker(name, threads)


def open_device(options: DeviceOptions, runtime: str, threads: int = 1) -> Runtime:
    """The runtime on the device. A command has a runtime of its own and ignores `runtime`.

    Raises UsageError for a device that has none of the `FORMS` or does not fit the other arguments, LatencyError for
    one that cannot be reached.
    """
    device, program, cores = options.device, options.device_program, options.device_cores
    litert_python = options.litert_python
    if threads < 1:
        raise UsageError(f"A runtime needs at least one thread, not {threads}.")
    kind, _, rest = device.partition(":")
    if (program or cores) and kind != "adb":
        raise UsageError(f"--device-program and --device-cores are for phones only; --device {device} takes neither.")
    match kind, rest:
        case ("local", "") if device == LOCAL:
            if runtime == "litert" and litert_python:
                from efficientformer.latency.runtimes.litert import LiteRT

                return LiteRT(threads, litert_python)
            return open_runtime(runtime, threads)
        case ("python", str(python)) if python:
            from efficientformer.latency.worker.local import python_transport
            from efficientformer.latency.worker.runtime import WorkerRuntime

            return WorkerRuntime(python_transport(python), runtime, threads, converter_python=litert_python)
        case ("ssh", str(host)) if host:
            from efficientformer.latency.devices.ssh import ssh_transport
            from efficientformer.latency.worker.runtime import WorkerRuntime

            return WorkerRuntime(ssh_transport(host), runtime, threads, converter_python=litert_python)
        case ("adb", str(serial)) if serial or device == "adb":
            from efficientformer.latency.devices.adb import AdbDevice

            return AdbDevice(runtime, threads, serial or None, program, cores, litert_python)
        case ("command", str(command)) if command.strip():
            from efficientformer.latency.devices.command import CommandDevice

            return CommandDevice(command, threads, litert_python)
    names = "local, python:PATH, ssh:USER@HOST, adb, adb:SERIAL and command:PROGRAM"
    raise UsageError(f"There is no device {device!r}. Devices are {names}.")


def open_restartable(options: DeviceOptions, runtime: str, threads: int = 1) -> Runtime:
    """As `open_device`, but a runtime of this process that a worker can run gets a process of its own."""
    from efficientformer.latency.worker.local import local_worker
    from efficientformer.latency.worker.packages import PACKAGES

    if options.device != LOCAL or runtime not in PACKAGES:
        return open_device(options, runtime, threads)
    with usable(runtime, threads):
        return local_worker(runtime, threads, options.litert_python)


def resolve_clock(clock: Clock | None, device: str, runtimes: Iterable[str], threads: int) -> Clock:
    """The clock asked for, else the default one: see `default_clock`."""
    return clock or default_clock(device, runtimes, threads)


def default_clock(device: str, runtimes: Iterable[str], threads: int) -> Clock:
    """CPU time where one thread that this program drives does all the work; wall time elsewhere."""
    return "cpu" if threads == 1 and ACCELERATORS.isdisjoint(runtimes) and counts_own_time(device) else "wall"


def runs_here(device: str) -> bool:
    """Whether networks are timed on the cores of this machine, as far as is known."""
    return device.partition(":")[0] in {LOCAL, "python"}


def counts_own_time(device: str) -> bool:
    """Whether the CPU time of the timed thread can be read there; otherwise only wall time is available."""
    return device.partition(":")[0] in {LOCAL, "python", "ssh"}
