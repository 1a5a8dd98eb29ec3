"""Any program that times a model file: docs/devices.md has the whole contract.

    PROGRAM --describe --threads N
    PROGRAM --model FILE --input 1x3x224x224 --threads N --warmup K --runs M

Each prints one JSON object as its last line: a description, or the milliseconds of every run.
"""

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.formats.open import FORMAT_NAMES
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices.model_files import ModelFiles
from efficientformer.latency.devices.programs import StartedForEachSample, run_program
from efficientformer.latency.prepared import Calls
from efficientformer.latency.worker.answers import is_time, machine_problem, parse_object, runtime_problem
from efficientformer.latency.worker.patience import FIRST_SAMPLE_S, Patience

if TYPE_CHECKING:
    from torch import nn

DESCRIBE_TIMEOUT_S = 60.0
REMEDY = "Check the path after --device command: and that the file may be executed."


class CommandDevice:
    """A runtime, machine and clock as the program describes them."""

    def __init__(
        self,
        command: str,
        threads: int = 1,
        litert_python: str | None = None,
        *,
        timeout_s: float = FIRST_SAMPLE_S,
    ) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--device command:{command} is no command line: {error}.") from error
        self.threads = threads
        self._litert_python = litert_python
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        return self.describe()["name"]

    @property
    def suffixes(self) -> tuple[str, ...]:
        return self._files.suffixes

    def describe(self) -> dict[str, Any]:
        return dict(self._description["runtime"])

    def machine(self) -> dict[str, Any]:
        return dict(self._description["machine"])

    def prepare(self, module: "nn.Module", input_shape: tuple[int, ...]) -> StartedForEachSample:
        return self._timed(self._files.export(module, input_shape), input_shape)

    def open(self, path: Path, input_shape: tuple[int, ...]) -> StartedForEachSample:
        return self._timed(self._files.lower(path, input_shape), input_shape)

    def _timed(self, path: Path, input_shape: tuple[int, ...]) -> StartedForEachSample:
        fixed = ["--model", str(path), "--input", "x".join(map(str, input_shape))]
        patience = Patience(self._timeout_s)

        def time_calls(calls: Calls) -> float:
            counts = ["--warmup", str(calls.settling), "--runs", str(calls.timed)]
            with patience.for_sample() as limit_s:
                answer = self._ask([*fixed, *counts], limit_s)
            return _latency_ms(answer, self._arguments[0], calls.timed)

        return StartedForEachSample(time_calls, self._description["clock"], self._arguments[0])

    @functools.cached_property
    def _files(self) -> ModelFiles:
        return ModelFiles(self._description["format"], self._litert_python)

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        program, answer = self._arguments[0], self._ask(["--describe"], DESCRIBE_TIMEOUT_S)
        problem = _problem(answer)
        if problem:
            raise LatencyError(f"{program} --describe {problem}. See docs/devices.md for what it must print.")
        return answer

    def _ask(self, request: list[str], timeout_s: float) -> dict[str, Any]:
        arguments = [*self._arguments, *request, "--threads", str(self.threads)]
        done = run_program(arguments, timeout_s=timeout_s, remedy=REMEDY)
        if done.code != 0:
            raise LatencyError(f"{shlex.join(arguments)} failed with code {done.code}: {done.last_words()}")
        *_, last = [line for line in done.stdout.splitlines() if line.strip()] or [""]
        try:
            return parse_object(last)
        except ValueError as error:
            raise LatencyError(
                f"{shlex.join(arguments)} must end with a line that is one JSON object, not {last[:80]!r}."
            ) from error


def _problem(answer: dict[str, Any]) -> str | None:
    """What is wrong with a description."""
    if problem := machine_problem(answer.get("machine")) or runtime_problem(answer.get("runtime")):
        return f"prints {problem}"
    if answer.get("format") not in FORMAT_NAMES:
        return f'prints "format" {answer.get("format")!r}, which is none of {", ".join(FORMAT_NAMES)}'
    if answer.get("clock") not in get_args(Clock):
        return f'prints "clock" {answer.get("clock")!r}, which is none of {", ".join(get_args(Clock))}'
    return None


def _latency_ms(answer: dict[str, Any], program: str, runs: int) -> float:
    """Mean of the runs. As for networks in this process, slow samples are recognized over many rounds."""
    is_mean = "samples_ms" not in answer and "latency_ms" in answer
    samples = [answer["latency_ms"]] if is_mean else answer.get("samples_ms")
    if not isinstance(samples, list) or not samples:
        raise LatencyError(f'{program} printed {sorted(answer)}, not "samples_ms" (a list) or "latency_ms" (a number).')
    # Zero counts: a coarse clock may not tick during a call; the mean over many calls is still right.
    wrong = [value for value in samples if not is_time(value)]
    total_ms = 0.0 if wrong else sum(map(float, samples))
    if not total_ms > 0:
        wrong = wrong or samples
        raise LatencyError(f"{program} printed a latency of {repr(wrong[0])[:40]} ms, which is not possible.")
    if not is_mean and len(samples) != runs:
        raise LatencyError(f'{program} printed {len(samples)} "samples_ms" for --runs {runs}: one for each run.')
    return total_ms / len(samples)
