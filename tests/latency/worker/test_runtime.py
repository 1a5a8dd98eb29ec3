import gc
import os
import signal

import numpy as np
import pytest
from torch import nn

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.prepared import Calls
from efficientformer.latency.runtime import Restarts
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.latency.timing.conditions import conditions_at
from efficientformer.latency.timing.timer import gc_off_and_pinned, time_interleaved
from efficientformer.latency.worker.runtime import WorkerRuntime

from .conftest import SHAPE, transport


@pytest.fixture
def runtime():
    runtime = WorkerRuntime(transport(), "onnxruntime", reconnect_after_s=(0.0, 0.0))
    yield runtime
    runtime.close()


def pid_of(runtime):
    return runtime._connection._process.pid


def end(runtime):
    os.kill(pid_of(runtime), signal.SIGKILL)


def cores_of(pid):
    return os.sched_getaffinity(pid)


def test_a_worker_gives_what_the_runtime_gives_here(runtime, onnx_file):
    here = OnnxRuntime(1)
    assert (runtime.name, runtime.threads, runtime.suffixes) == (here.name, here.threads, here.suffixes)
    assert runtime.describe() == here.describe() and runtime.machine() == here.machine()
    far = runtime.open(onnx_file, SHAPE)
    assert np.array_equal(far.output(), here.open(onnx_file, SHAPE).output())
    assert far.memory_mib is not None and far.memory_mib >= 0
    assert all(far.sample(Calls(1, 2), clock) > 0 for clock in ("cpu", "wall"))


def test_modules_are_exported_here_and_timed_there(runtime):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    far, here = runtime.prepare(module, SHAPE), OnnxRuntime(1).prepare(module, SHAPE)
    assert np.array_equal(far.output(), here.output())
    samples = time_interleaved({"far": far, "here": here}, rounds=3, clock="cpu")
    assert all(len(values) == 3 and min(values) > 0 for values in samples.values())


def test_conditions_are_those_of_the_worker(runtime):
    told = conditions_at(runtime)
    assert told is not None and set(told) == {
        *("load", "governor", "frequency_mhz", "temperature_c", "involuntary_switches")
    }


def test_one_thread_stays_on_a_core_while_it_is_timed(runtime, onnx_file):
    allowed = cores_of(0)
    network = runtime.open(onnx_file, SHAPE)
    network.sample(Calls(0, 1), "cpu")
    assert len(cores_of(pid_of(runtime))) == 1
    runtime.open(onnx_file, SHAPE)
    assert cores_of(pid_of(runtime)) == allowed
    two = WorkerRuntime(transport(), "onnxruntime", 2)
    two.open(onnx_file, SHAPE).sample(Calls(0, 1), "wall")
    assert cores_of(pid_of(two)) == allowed
    two.close()


def test_a_worker_started_while_we_keep_to_one_core_does_not(runtime):
    allowed = cores_of(0)
    end(runtime)
    with gc_off_and_pinned(pinned=True):
        assert runtime.conditions()
        assert len(cores_of(0)) == 1 or len(allowed) == 1
        assert cores_of(pid_of(runtime)) == allowed


def test_a_worker_that_dies_while_networks_are_timed_is_replaced(runtime, onnx_file):
    networks = {str(index): runtime.open(onnx_file, SHAPE) for index in range(3)}
    expected = networks["0"].output()
    pids = set()

    def on_round(index, samples):
        pids.add(pid_of(runtime))
        if index < 3:
            end(runtime)

    samples = time_interleaved(networks, rounds=5, clock="cpu", on_round=on_round)
    assert len(pids) == 4 and all(len(values) == 5 for values in samples.values())
    assert np.array_equal(networks["2"].output(), expected)


def test_a_restart_opens_the_same_networks_in_a_new_process(runtime, onnx_file):
    networks = [runtime.open(onnx_file, SHAPE), runtime.prepare(nn.Conv2d(3, 4, 1), SHAPE)]
    before, outputs = pid_of(runtime), [network.output() for network in networks]
    runtime.restart()
    for network, output in zip(networks, outputs, strict=True):
        assert network.sample(Calls(1, 1), "cpu") > 0 and np.array_equal(network.output(), output)
    assert isinstance(runtime, Restarts) and pid_of(runtime) != before
    with pytest.raises(OSError, match="No such process"):
        os.kill(before, 0)


def test_a_worker_that_dies_again_and_again_is_given_up(onnx_file, tmp_path):
    count = tmp_path / "starts"
    # The first worker has a life to lose; those after it die at once.
    dies = (
        f"import os;n=os.path.exists({str(count)!r});open({str(count)!r},'a').write('.');n and os.kill(os.getpid(),9);"
    )
    code = dies + transport().argv[-1]
    runtime = WorkerRuntime(transport(*transport().argv[:-1], code), "onnxruntime", reconnect_after_s=(0.0, 0.0))
    network = runtime.open(onnx_file, SHAPE)
    end(runtime)
    runtime._connection._process.wait()
    with pytest.raises(LatencyError, match=r"SIGKILL while .*network\.onnx was timed\. .*finished rounds are kept"):
        network.sample(Calls(0, 1), "cpu")
    assert count.read_text() == "...."
    runtime.close()


def test_a_network_that_brings_the_worker_down_does_not_bring_down_others(runtime, onnx_file, monkeypatch):
    first = runtime.open(onnx_file, SHAPE)
    with monkeypatch.context() as patch:
        # A worker that dies at the very moment when it opens a network.
        patch.setattr(runtime, "_far_path", lambda connection, path: end(runtime) or str(path))
        with pytest.raises(LatencyError, match=r"SIGKILL while it opened .*network\.onnx\. .*choose another runtime"):
            runtime.open(onnx_file, SHAPE)
    second = runtime.open(onnx_file, SHAPE)
    assert np.array_equal(first.output(), second.output())


def test_a_worker_that_ended_between_two_requests_is_no_fault_of_the_next_network(runtime, onnx_file):
    end(runtime)
    runtime._connection._process.wait()
    assert runtime.open(onnx_file, SHAPE).output().shape == (1, 8, 14, 14)


def test_networks_nobody_holds_are_closed_there_and_their_files_removed(runtime):
    module = nn.Conv2d(3, 4, 1)
    runtime.prepare(module, SHAPE)
    gc.collect()
    kept = runtime.prepare(module, SHAPE)
    folder = runtime._folder
    assert [path.name for path in folder.iterdir()] == [str(kept.number)]
    assert runtime._opened == {kept.number}
    runtime.close()
    assert not folder.exists()
    with pytest.raises(LatencyError, match="has been closed"):
        kept.output()


def test_errors_name_the_file_as_the_user_knows_it(runtime, tmp_path):
    path = tmp_path / "network.onnx"
    with pytest.raises(LatencyError, match=f"{path} does not exist"):
        runtime.open(path, SHAPE)
    path.write_bytes(b"nothing")
    with pytest.raises(LatencyError, match=f"cannot open {path}"):
        runtime.open(path, SHAPE)
    assert runtime.conditions()


def test_runtimes_of_pytorch_stay_here():
    with pytest.raises(UsageError, match="'pytorch' runs on this machine only"):
        WorkerRuntime(transport(), "pytorch")


def test_what_a_runtime_prints_does_not_reach_the_answers(onnx_file):
    pytest.importorskip("MNN")
    runtime = WorkerRuntime(transport(), "mnn")
    assert runtime.open(onnx_file, SHAPE).output().shape == (1, 8, 14, 14)
    runtime.close()
