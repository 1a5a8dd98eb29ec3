"""The benchmark programs of runtimes for phones: their arguments and the output to read.

As their sources have it: ONNX Runtime, onnxruntime/test/perftest at 011738c (2026; the result file is older than the
first release); LiteRT, tflite/tools/benchmark at f674577 (after 2.2; TensorFlow Lite prints the same line); ncnn,
benchmark/benchncnn.cpp at a4d2ea1 (July 2026).
"""

import re
from typing import Any, Protocol

from efficientformer.errors import LatencyError, UsageError
from efficientformer.exporting.formats.open import FormatName
from efficientformer.latency.prepared import Calls
from efficientformer.latency.worker.output import last_lines

MS_PER_S = 1e3
US_PER_MS = 1e3
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\d.])"


class Benchmark(Protocol):
    program: str
    """What the program is called."""
    file_format: FormatName
    """What it reads, one of `model_files.FORMATS`."""
    chooses_cores: bool
    """Whether it decides itself which cores it runs on."""

    def describe(self, threads: int) -> dict[str, Any]:
        """{compute_unit, options} of the runtime as this program runs it."""
        ...

    def arguments(self, model: str, input_shape: tuple[int, ...], threads: int, calls: Calls, result: str) -> list[str]:
        """What follows the program; it may write to the file `result`, whose content is then read like its output."""
        ...

    def latency_ms(self, printed: str, calls: Calls) -> float:
        """Mean milliseconds of the timed calls. Raises LatencyError when `printed` has none."""
        ...


class OnnxRuntimePerfTest:
    """Writes a line for every call: name, seconds, memory, load, index. Its own first call is not among them."""

    program = "onnxruntime_perf_test"
    file_format: FormatName = "onnx"
    chooses_cores = False

    def describe(self, threads: int) -> dict[str, Any]:
        options = {"graph_optimization": "all", "intra_op_threads": threads, "inter_op_threads": 1}
        return {"compute_unit": "CPUExecutionProvider", "precision": "fp32", "options": options}

    def arguments(self, model: str, input_shape: tuple[int, ...], threads: int, calls: Calls, result: str) -> list[str]:
        # -I makes up an input of the model's shape, from the seed -S; -o 99 is every graph optimization.
        how_often = ["-m", "times", "-r", str(calls.settling + calls.timed)]
        how = ["-I", "-S", "0", "-e", "cpu", "-o", "99", "-x", str(threads), "-y", "1"]
        return [*how, *how_often, model, result]

    def latency_ms(self, printed: str, calls: Calls) -> float:
        seconds = [float(value) for value in re.findall(rf"^[^,\n]*,({_NUMBER}),\d+,-?\d+,\d+$", printed, re.MULTILINE)]
        if len(seconds) != calls.settling + calls.timed:
            raise _unreadable(self.program, printed)
        return MS_PER_S * sum(seconds[calls.settling :]) / calls.timed


class LiteRTBenchmarkModel:
    """Prints microseconds: "count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732 std=1929 ..."; a line for
    the warm-up comes before. Where all calls took the same, "count=2 curr=79449(all same) ..." it is.
    """

    program = "benchmark_model"
    file_format: FormatName = "tflite"
    chooses_cores = False

    def describe(self, threads: int) -> dict[str, Any]:
        options = {"delegate": "XNNPACK", "intra_op_threads": threads}
        return {"compute_unit": "CPU, XNNPACK", "precision": "fp32", "options": options}

    def arguments(self, model: str, input_shape: tuple[int, ...], threads: int, calls: Calls, result: str) -> list[str]:
        # By default it continues for at least half a second of warm-up and a second of timing.
        counts = [f"--warmup_runs={calls.settling}", "--warmup_min_secs=0", f"--num_runs={calls.timed}", "--min_secs=0"]
        return [f"--graph={model}", f"--num_threads={threads}", "--use_xnnpack=true", *counts]

    def latency_ms(self, printed: str, calls: Calls) -> float:
        if "will not be executed by the delegate" in printed:
            raise LatencyError(f"{self.program} runs the network without XNNPACK, which times something else.")
        lines = [dict(re.findall(rf"\b(\w+)=({_NUMBER})", line)) for line in re.findall(r"\bcount=.*", printed)]
        timed = [line for line in lines if float(line.get("count", 0)) > 0]
        latency_us = timed[-1].get("avg", timed[-1].get("curr")) if timed else None
        if latency_us is None or float(timed[-1]["count"]) != calls.timed:
            raise _unreadable(self.program, printed)
        return float(latency_us) / US_PER_MS


class Benchncnn:
    """Prints milliseconds, to the hundredth: "name  min =    5.01  max =    5.40  avg =    5.12".

    It reads the .param only and makes up weights, warms up by 8 calls whatever is asked, and computes in half
    precision where the chip can.
    """

    program = "benchncnn"
    file_format: FormatName = "ncnn"
    chooses_cores = True

    def describe(self, threads: int) -> dict[str, Any]:
        options = {"powersave": "big cores", "weights": "made up", "intra_op_threads": threads}
        return {"compute_unit": "CPU", "precision": "fp16 where the chip has it", "options": options}

    def arguments(self, model: str, input_shape: tuple[int, ...], threads: int, calls: Calls, result: str) -> list[str]:
        batch, channels, height, width = input_shape
        if batch != 1:
            raise LatencyError(f"ncnn runs one image at a time, not {batch}. Choose another runtime.")
        # Calls, threads, big cores, no GPU, no ten seconds of sleep to cool down.
        return [
            str(calls.timed),
            str(threads),
            "2",
            "-1",
            "0",
            f"param={model}",
            f"shape=[{width},{height},{channels}]",
        ]

    def latency_ms(self, printed: str, calls: Calls) -> float:
        means_ms = re.findall(rf"\bmin =\s*{_NUMBER}\s+max =\s*{_NUMBER}\s+avg =\s*({_NUMBER})", printed)
        if not means_ms:
            raise _unreadable(self.program, printed)
        return float(means_ms[-1])


BENCHMARKS: dict[str, Benchmark] = {
    "onnxruntime": OnnxRuntimePerfTest(),
    "litert": LiteRTBenchmarkModel(),
    "ncnn": Benchncnn(),
}


def benchmark_of(runtime: str) -> Benchmark:
    """Raises UsageError for a runtime that has no program for phones."""
    if runtime not in BENCHMARKS:
        raise UsageError(f"On a phone the runtime is one of {', '.join(BENCHMARKS)}, not {runtime!r}.")
    return BENCHMARKS[runtime]


def _unreadable(program: str, printed: str) -> LatencyError:
    last = last_lines(printed, 3, " / ") or "it printed nothing"
    return LatencyError(
        f"{program} ran, but printed no latency of the calls asked for ({last}). Compare its version with those "
        "that docs/devices.md names."
    )
