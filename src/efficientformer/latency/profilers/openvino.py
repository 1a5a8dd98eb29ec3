"""OpenVINO's performance counters: the mean time of every operator over all runs since the network was loaded.

A mean includes every disturbance of its runs, so the counters grow on a busy machine. Their proportions are still right
and are applied to a total that is timed separately. With few runs per loading, most means have no disturbance.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.exporting.formats.format import written_file
from efficientformer.exporting.formats.onnx import ONNX
from efficientformer.latency.profilers.exported_graph import Executed, ExportedGraph
from efficientformer.latency.profilers.kinds import family_of
from efficientformer.latency.profilers.profile import OperatorTime, Profile
from efficientformer.latency.profilers.turns import run_profiled, time_in_turns
from efficientformer.latency.runtimes.openvino import OpenVino
from efficientformer.latency.timing.quiet import quiet_median

if TYPE_CHECKING:
    from torch import nn

MS_PER_S = 1e3
FIRST_RUNS = 3
JOINED = "Subgraph"
SOURCE = "OpenVINO's counters, which swell on a busy machine: used as shares of a total timed without them"


def profile_openvino(runtime: OpenVino, module: "nn.Module", input_shape: tuple[int, ...], rounds: int) -> Profile:
    """Times of the operators of a module in deploy form, scaled to the total. Raises LatencyError."""
    with written_file(ONNX, module, input_shape) as path:
        written = ExportedGraph.load(path)
        network = runtime.open(path, input_shape)
        graphs: list[list[Any]] = []
        turns_ms: list[list[float]] = []

        def profile_turn(rounds: int) -> None:
            compiled = runtime.compile(runtime.read(path), counts_time=True)
            graphs[:] = [compiled.get_runtime_model().get_ordered_ops()]
            names = [op.get_friendly_name() for op in graphs[0]]
            counted_ms = _counted_ms(compiled.create_infer_request(), input_sample(input_shape), runtime, rounds)
            turns_ms.append([counted_ms.get(name, 0.0) for name in names])

        total_ms = time_in_turns(network, profile_turn, runtime.threads, rounds)
    executed = _executed(graphs[0])
    times_ms = quiet_median(np.asarray(turns_ms))
    for index in _run_at_loading(executed):
        times_ms[index] = 0.0
        executed[index] = replace(executed[index], names=())
    if not times_ms.any():
        raise LatencyError("OpenVINO counted no time in any operator; the network is too small to be profiled.")
    times_ms *= total_ms / times_ms.sum()
    operators = zip(executed, times_ms.tolist(), written.stands_for(executed), strict=True)
    return Profile(
        source=SOURCE,
        is_shares=True,
        total_ms=total_ms,
        operators=tuple(OperatorTime(item.kind, ms, computes) for item, ms, computes in operators if ms > 0),
        written=tuple(written.operators.values()),
    )


def _counted_ms(request: Any, x: np.ndarray, runtime: OpenVino, rounds: int) -> dict[str, float]:
    """Mean milliseconds of each operator over the runs after the first, which load weights and allocate memory."""
    num_runs = 0

    def run() -> None:
        nonlocal num_runs
        request.infer({0: x})
        num_runs += 1

    for _ in range(FIRST_RUNS):
        run()
    before = _means_ms(request)
    run_profiled(run, runtime.threads, rounds)
    after = _means_ms(request)
    later = num_runs - FIRST_RUNS
    return {name: max(0.0, (mean * num_runs - before[name] * FIRST_RUNS) / later) for name, mean in after.items()}


def _means_ms(request: Any) -> dict[str, float]:
    return {item.node_name: item.real_time.total_seconds() * MS_PER_S for item in request.profiling_info}


def _run_at_loading(executed: list[Executed]) -> set[int]:
    """Operators that depend on constants alone: their one run, while the network is loaded, is counted as well."""
    constants: set[int] = set()
    for index, item in enumerate(executed):
        if item.kind == "Const" or (item.reads and constants.issuperset(item.reads)):
            constants.add(index)
    return constants


def _executed(graph: list[Any]) -> list[Executed]:
    """The operators of a runtime model: it keeps types and names before fusion in their runtime information."""
    places = {op.get_friendly_name(): index for index, op in enumerate(graph)}
    executed = []
    for op in graph:
        about = op.get_rt_info()
        names = str(about["originalLayersNames"].astype(str)) if "originalLayersNames" in about else ""
        kind = str(about["layerType"].astype(str)) if "layerType" in about else op.get_type_name()
        reads = [item.get_source_output().get_node().get_friendly_name() for item in op.inputs()]
        joined = tuple(filter(None, names.split(",")))
        kind = _kind_of_joined(joined) or kind if kind == JOINED else kind
        executed.append(Executed(kind, joined, tuple(places[name] for name in reads)))
    return executed


def _kind_of_joined(names: tuple[str, ...]) -> str | None:
    """What an operator compiled of several does, when OpenVINO made up all of their names: "Multiply_7,HSwish_9"."""
    families = {family_of(name): name for name in names}
    if None in families:
        return None
    return next((name for family, name in families.items() if family != "elementwise"), names[0] if names else None)
