from efficientformer.latency.devices import open_runtime
from efficientformer.latency.profilers import find_profiler
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime


class Elsewhere:
    """A runtime of the same name whose networks run in another process."""

    name, threads = "onnxruntime", 1


class Unheard:
    name, threads = "abacus", 1


def test_runtimes_with_a_profiler_in_this_process_have_one():
    assert find_profiler(OnnxRuntime(1)) is not None
    assert find_profiler(open_runtime("pytorch")) is not None


def test_another_process_or_runtime_has_none():
    assert find_profiler(Elsewhere()) is None
    assert find_profiler(Unheard()) is None
