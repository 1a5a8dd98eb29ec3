from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from efficientformer.analysis.comparison.compare import TOLERANCE, check_output, compare
from efficientformer.analysis.comparison.compared_network import prepare_network
from efficientformer.analysis.comparison.network_source import find_sources
from efficientformer.errors import LatencyError
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.prepared import Calls
from efficientformer.provenance import machine


@dataclass
class FakePrepared:
    """A network of a made-up runtime: `factor` on its output, dead after so many samples."""

    expected: np.ndarray
    factor: float = 1.0
    lives: int = 10**9

    def sample(self, calls: Calls, clock: str) -> float:
        self.lives -= 1
        if self.lives < 0:
            raise LatencyError("the worker ended with signal 11")
        return 1.0

    def output(self) -> np.ndarray:
        return self.expected * self.factor


@dataclass
class FakeRuntime:
    """Opens what `make` makes of a path; counts how often it opened each."""

    make: Any
    name: str = "fake"
    threads: int = 1
    suffixes: tuple[str, ...] = (".onnx",)
    opened: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "version": "1", "compute_unit": "none", "options": {}}

    def machine(self) -> dict[str, Any]:
        return machine()

    def open(self, path: Path, input_shape: tuple[int, ...]) -> Any:
        self.opened.append(path.name.partition("-")[0])
        return self.make(path)

    prepare = open


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    names = ["mobilenetv2_035", "mobilenetv2_050", "mobileone_s0"]
    return [prepare_network(source, 32, folder) for source in find_sources(names)]


def by_path(networks, **faults):
    """What makes fake networks: each computes what it should unless a fault is given by its name."""

    def make(path: Path) -> FakePrepared:
        network = next(network for network in networks if network.path == path)
        fault = faults.get(network.source.name, {})
        if isinstance(fault, Exception):
            raise fault
        return FakePrepared(network.logits, **fault)

    return make


def test_differences_are_in_standard_deviations_of_the_expected_output():
    expected = np.array([[0.0, 10.0, 20.0, 30.0]])
    check = check_output(expected + 0.05, expected)
    assert check.problem is None
    assert check.relative_difference == pytest.approx(check.max_abs_difference / expected.std())
    wrong = check_output(expected + 2 * TOLERANCE * expected.std(), expected)
    assert wrong.problem is not None and "wrong output" in wrong.problem
    for output in (expected[:, :3], expected * np.nan, expected + np.inf):
        assert check_output(output, expected).relative_difference == np.inf
    assert check_output(np.ones(4), np.ones(4)).problem is not None  # a constant says nothing


def test_every_network_on_every_runtime_in_the_same_rounds(networks):
    runtimes = [open_runtime("onnxruntime"), open_runtime("pytorch")]
    comparison = compare(networks[:2], runtimes, clock="cpu", rounds=40)
    assert not comparison.problems
    assert len(comparison.measurements) == 4
    assert min(item.timed_runs for item in comparison.measurements.values()) >= 40
    assert len({item.timed_runs for item in comparison.measurements.values()}) == 1
    assert all(check.relative_difference < 1e-3 for check in comparison.checks.values())
    ratio = comparison.ratio("mobilenetv2_050", "mobilenetv2_035", "onnxruntime")
    assert ratio is not None and ratio.interval[0] <= ratio.p50 <= ratio.interval[1]
    itself = comparison.ratio("mobilenetv2_050", "mobilenetv2_050", "pytorch")
    assert itself is not None and itself.p50 == 1


def test_a_wrong_output_is_measured_but_never_ranked(networks):
    runtime = FakeRuntime(by_path(networks, mobilenetv2_050={"factor": 2.0}))
    comparison = compare(networks, [runtime], clock="cpu", rounds=40)
    key = ("mobilenetv2_050", "fake")
    assert "wrong output" in comparison.problems[key] and key in comparison.measurements
    assert key not in comparison.usable()
    assert comparison.ratio(*key[:1], "mobilenetv2_035", "fake") is None
    assert comparison.ratio("mobileone_s0", "mobilenetv2_035", "fake") is not None


def test_what_a_runtime_cannot_open_is_listed_and_the_others_go_on(networks):
    runtime = FakeRuntime(by_path(networks, mobileone_s0=LatencyError("no such operator")))
    comparison = compare(networks, [runtime], clock="cpu", rounds=40)
    assert comparison.problems == {("mobileone_s0", "fake"): "no such operator"}
    assert len(comparison.measurements) == 2


def test_a_network_that_dies_while_timed_is_dropped_and_its_neighbors_are_opened_again(networks, tmp_path):
    runtime = FakeRuntime(by_path(networks, mobilenetv2_035={"lives": 9}))
    other = FakeRuntime(by_path(networks), name="other")
    comparison = compare(
        networks, [runtime, other], clock="cpu", rounds=40, partial_path=tmp_path / "rounds.partial.jsonl"
    )
    assert comparison.problems == {("mobilenetv2_035", "fake"): "the worker ended with signal 11"}
    assert len(comparison.usable()) == 5
    assert runtime.opened.count("mobilenetv2_035") == 1 and runtime.opened.count("mobileone_s0") == 2
    assert len(other.opened) == 3


def test_a_device_without_outputs_is_measured_unchecked(networks):
    class Silent(FakePrepared):
        def output(self) -> np.ndarray:
            raise LatencyError("this program gives no outputs")

    runtime = FakeRuntime(lambda path: Silent(np.zeros(1)))
    comparison = compare(networks, [runtime], clock="cpu", rounds=40)
    assert not comparison.checks and not comparison.problems and len(comparison.usable()) == 3


def test_slow_networks_settle_in_one_call(networks):
    calls_seen = []

    class Slow(FakePrepared):
        def sample(self, calls: Calls, clock: str) -> float:
            calls_seen.append(calls)
            return 30.0

    compare(networks[:1], [FakeRuntime(lambda path: Slow(networks[0].logits))], clock="cpu", rounds=40)
    assert max(calls.settling for calls in calls_seen) == 1
    assert sum(calls.settling == 1 for calls in calls_seen) >= 40


def test_nothing_that_can_be_measured_is_an_error(networks):
    runtime = FakeRuntime(by_path(networks, mobilenetv2_035=LatencyError("no such operator")))
    with pytest.raises(LatencyError, match="mobilenetv2_035 on fake: no such operator"):
        compare(networks[:1], [runtime], clock="cpu", rounds=40)


def test_a_quantized_file_with_a_wrong_output_names_the_likely_remedy(networks):
    quantized = [replace(networks[0], precision="int8"), *networks[1:]]
    faults = {network.source.name: {"factor": 3.0} for network in quantized[:2]}
    comparison = compare(quantized, [FakeRuntime(by_path(quantized, **faults))], clock="wall", rounds=40)
    first, second = (comparison.problems[network.source.name, "fake"] for network in quantized[:2])
    assert "reduce_range" in first and "wrong output" in second and "reduce_range" not in second
