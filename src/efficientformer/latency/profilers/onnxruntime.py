"""ONNX Runtime's profiler: a file of trace events with the time of every node in every run."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.exporting.formats.format import written_file
from efficientformer.exporting.formats.onnx import ONNX
from efficientformer.latency.profilers.exported_graph import Executed, ExportedGraph
from efficientformer.latency.profilers.profile import OperatorTime, Profile
from efficientformer.latency.profilers.turns import run_profiled, time_in_turns
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.latency.timing.quiet import quiet_median
from efficientformer.leftovers import temporary_folder

if TYPE_CHECKING:
    from torch import nn

US_PER_MS = 1e3
SOURCE = "ONNX Runtime's profiler: quiet medians of each operator's time"


def profile_onnxruntime(
    runtime: OnnxRuntime, module: "nn.Module", input_shape: tuple[int, ...], rounds: int
) -> Profile:
    """Times of the operators of a module in deploy form, which add up to nearly the total. Raises LatencyError."""
    with (
        temporary_folder() as folder,
        written_file(ONNX, module, input_shape) as path,
    ):
        written = ExportedGraph.load(path)
        network = runtime.open(path, input_shape)
        options = runtime.session_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(Path(folder) / "executed.onnx")
        session = runtime.session(path, options)
        feed = {session.get_inputs()[0].name: input_sample(input_shape)}

        def profile_turn(rounds: int) -> None:
            run_profiled(lambda: session.run(None, feed), runtime.threads, rounds)

        total_ms = time_in_turns(network, profile_turn, runtime.threads, rounds)
        kinds, times_ms = _node_times(Path(session.end_profiling()))
        executed = _executed(Path(folder) / "executed.onnx")
    if kinds != [node.kind for node in executed]:
        raise LatencyError("ONNX Runtime's profile and its graph list different operators; its operators stay unknown.")
    computes = written.stands_for(executed)
    operators = zip(kinds, quiet_median(times_ms), computes, strict=True)
    return Profile(
        source=SOURCE,
        is_shares=False,
        total_ms=total_ms,
        operators=tuple(OperatorTime(kind, float(ms), stands_for) for kind, ms, stands_for in operators),
        written=tuple(written.operators.values()),
    )


def _node_times(trace: Path) -> tuple[list[str], np.ndarray]:
    """Operator types in the order of execution, and milliseconds (runs, operators)."""
    events = [event for event in json.loads(trace.read_text(encoding="utf-8")) if event.get("cat") == "Node"]
    events = [event for event in events if event["name"].endswith("_kernel_time")]
    runs = Counter(event["args"]["node_index"] for event in events)
    num_runs = min(runs.values())
    kinds = [event["args"]["op_name"] for event in events[: len(runs)]]
    durations = np.array([event["dur"] for event in events[: num_runs * len(runs)]])
    return kinds, durations.reshape(num_runs, len(runs)) / US_PER_MS


def _executed(path: Path) -> list[Executed]:
    """The graph that ONNX Runtime really runs, which it saves in its order of execution."""
    nodes = onnx.load_model(path, load_external_data=False).graph.node
    makers = {tensor: index for index, node in enumerate(nodes) for tensor in node.output}
    return [
        Executed(
            node.op_type,
            (node.name, *node.output),
            tuple(makers[tensor] for tensor in node.input if tensor in makers),
        )
        for node in nodes
    ]
