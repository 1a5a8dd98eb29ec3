"""The verdict on a promise, from made-up sessions."""

import pytest
from tests.latency.synthetic import measurement_of

from efficientformer.arch.spaces import QUICK
from efficientformer.latency.timing.repeated import Repeated
from efficientformer.pipeline.phases.verify import promise_row, reference_row
from efficientformer.pipeline.run.budget import parse_budget
from efficientformer.pipeline.run.run_network import FoundNetwork
from efficientformer.pipeline.slimming.measure import LARGEST
from efficientformer.pipeline.slimming.promise import Promise
from efficientformer.run_dir import RunDir

SPREAD = (0.98, 0.99, 0.995, 1.005, 1.01, 1.02)


def row(text, measured_ms, tmp_path, limits=None, speeds=(1.0,) * 6, percentile="p50"):
    """The promise of a network that takes `measured_ms`, by a factor more or less in each session."""
    budget = parse_budget(text)
    files = RunDir(tmp_path).network(budget.slug)
    network = FoundNetwork(budget, 8.0, 7.5, QUICK.smallest(), ((0,),) * 4, files)
    pairs = list(zip(SPREAD, speeds, strict=True))
    measured = {
        budget.slug: Repeated([measurement_of([measured_ms * own * speed] * 8) for own, speed in pairs]),
        LARGEST: Repeated([measurement_of([20.0 * speed] * 8) for _, speed in pairs]),
    }
    return promise_row(network, Promise(budget, 0.02, percentile), measured, limits or {})


@pytest.mark.parametrize("percentile", ["p50", "p90"])
@pytest.mark.parametrize(("measured_ms", "kept"), [(7.8, True), (7.9, False), (8.1, False), (8.3, False)])
def test_a_promise_is_kept_by_the_upper_end_of_its_interval(measured_ms, kept, percentile, tmp_path):
    found = row("8ms", measured_ms, tmp_path, percentile=percentile)
    assert found["measured_interval_ms"] == pytest.approx([0.98 * measured_ms, 1.02 * measured_ms])
    assert found["kept"] is kept and found["budget_ms"] == 8.0
    assert found["sessions"] == 6 and found["interval_percent"] == 95.0


def test_a_share_is_of_the_largest_network_in_the_same_session(tmp_path):
    """Processes differ by a factor of two, for both networks alike."""
    found = row("40%", 7.8, tmp_path, speeds=(1.0, 2.0, 1.0, 2.0, 1.0, 2.0))
    assert found["budget_ms"] == pytest.approx(0.4 * 30.0) and found["kept"]
    low, high = found["measured_interval_ms"]
    assert (low / 30.0, high / 30.0) == pytest.approx((0.98 * 0.39, 1.02 * 0.39))
    assert not row("40%", 7.9, tmp_path)["kept"]


def test_a_limit_that_is_exceeded_breaks_the_promise(tmp_path):
    assert row("8ms", 7.0, tmp_path, {"params_m": (5.0, 5.0)})["kept"]
    broken = row("8ms", 7.0, tmp_path, {"params_m": (5.0, 5.1)})
    assert not broken["kept"] and broken["limits"] == {"params_m": {"most": 5.0, "measured": 5.1}}


@pytest.mark.parametrize(("text", "speed"), [("8ms", 1.0), ("40%", 3.0)])
@pytest.mark.parametrize(("measured_ms", "kept"), [(7.8, True), (7.9, False), (8.3, False)])
def test_a_reference_is_held_against_its_budget_as_the_network_found_is(text, speed, measured_ms, kept):
    """A share is of the largest network in the same session, however fast the machine is."""
    chosen = {"budget": text, "slug": "slug", "name": "levit_128", "reason": None}
    measured = {
        "reference levit_128": Repeated([measurement_of([measured_ms * own * speed] * 8) for own in SPREAD]),
        LARGEST: Repeated([measurement_of([20.0 * speed] * 8) for _ in SPREAD]),
    }
    found = reference_row(chosen, Promise(parse_budget(text), 0.02), measured)
    assert found["kept"] is kept and found["name"] == "levit_128" and found["sessions"] == 6
    assert found["budget_ms"] == pytest.approx(8.0 * speed)
    assert found["measured_interval_ms"] == pytest.approx([0.98 * measured_ms * speed, 1.02 * measured_ms * speed])
