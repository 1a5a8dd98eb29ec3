"""Networks timed on an Android phone by a runtime's benchmark program, which the user has copied to the phone."""

import functools
import shlex
from pathlib import Path
from typing import Any

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.formats.format import Format
from efficientformer.latency.devices.model_files import ModelFiles
from efficientformer.latency.devices.phone import FOLDER, Phone
from efficientformer.latency.devices.phone_benchmarks import benchmark_of
from efficientformer.latency.devices.programs import StartedForEachSample
from efficientformer.latency.prepared import Calls
from efficientformer.latency.runtime import OpensFiles
from efficientformer.latency.worker.patience import Patience

PROGRAMS = "/data/local/tmp"
RESULT = f"{FOLDER}/result.csv"


class AdbDevice(OpensFiles):
    """The runtime on the phone with this serial number, or on the only one.

    `program` is where its benchmark program lies on the phone, /data/local/tmp by default; `cores` a hexadecimal mask.
    Raises UsageError for what the program cannot do, LatencyError for a phone or a program that is not there.
    """

    def __init__(
        self,
        runtime: str,
        threads: int = 1,
        serial: str | None = None,
        program: str | None = None,
        cores: str | None = None,
        litert_python: str | None = None,
    ) -> None:
        self.name = runtime
        self.threads = threads
        self._benchmark = benchmark_of(runtime)
        self._cores = _checked_cores(cores)
        if cores and self._benchmark.chooses_cores:
            raise UsageError(f"{self._benchmark.program} chooses its cores itself. Leave --device-cores out.")
        self._program = program or f"{PROGRAMS}/{self._benchmark.program}"
        self._litert_python = litert_python
        self._phone = Phone(serial)
        self._version = self._phone.program_version(self._program)

    @functools.cached_property
    def _files(self) -> ModelFiles:
        return ModelFiles(self._benchmark.file_format, self._litert_python)

    @property
    def format(self) -> Format:
        return self._files.format

    @property
    def suffixes(self) -> tuple[str, ...]:
        return self._files.suffixes

    def describe(self) -> dict[str, Any]:
        described = self._benchmark.describe(self.threads)
        options = {**described["options"], "program": self._benchmark.program, "cores": self._cores or "any"}
        return {"name": self.name, "version": self._version, **described, "options": options}

    def machine(self) -> dict[str, Any]:
        return dict(self._machine)

    @functools.cached_property
    def _machine(self) -> dict[str, Any]:
        return self._phone.machine()

    def open(self, path: Path, input_shape: tuple[int, ...]) -> StartedForEachSample:
        return self._timed(self._files.lower(path, input_shape), input_shape)

    def _timed(self, path: Path, input_shape: tuple[int, ...]) -> StartedForEachSample:
        model, patience = self._phone.push(path), Patience()

        def time_calls(calls: Calls) -> float:
            arguments = self._benchmark.arguments(model, input_shape, self.threads, calls, RESULT)
            with patience.for_sample() as limit_s:
                done = self._phone.shell(self._script(arguments), timeout_s=limit_s)
            if done.code != 0:
                raise LatencyError(f"{self._program} failed with code {done.code} on {path.name}: {done.last_words()}")
            return self._benchmark.latency_ms(f"{done.stdout}\n{done.stderr}", calls)

        return StartedForEachSample(time_calls, "wall", self._benchmark.program)

    def _script(self, arguments: list[str]) -> str:
        """Shell script: libraries are loaded from the program's folder; its result file is printed after its output."""
        command = shlex.join([*(("taskset", self._cores) if self._cores else ()), self._program, *arguments])
        libraries = shlex.quote(self._program.rpartition("/")[0])
        return f"rm -f {RESULT}; LD_LIBRARY_PATH={libraries} {command} && if [ -f {RESULT} ]; then cat {RESULT}; fi"


def _checked_cores(cores: str | None) -> str | None:
    if cores is None:
        return None
    mask = cores.lower().removeprefix("0x")
    if not mask or set(mask) - set("0123456789abcdef") or not int(mask, 16):
        raise UsageError(
            f"--device-cores {cores} is not a hexadecimal mask of cores. Write f0, for example, for cores 4 to 7."
        )
    return mask
