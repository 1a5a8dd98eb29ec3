import json
from functools import partial

import numpy as np
import pytest

from efficientformer.errors import LatencyError, RecordError
from efficientformer.latency.timing.measurement import Measurement, interval_holds, paired_ratio
from efficientformer.latency.timing.session import TimedSession

from .synthetic import DISTURBANCES, Machine, measurement_of, measurements_of

SETTINGS = [(), *((disturbance,) for disturbance in DISTURBANCES), DISTURBANCES]
TRUE_MS = 1.2


def test_figures_follow_from_the_samples():
    measurement = measurement_of((1.0, 1.01, 1.02, 1.5, 1.5))
    assert measurement.p50_ms == pytest.approx(1.01)
    assert measurement.all_p50_ms == pytest.approx(1.02)
    assert measurement.disturbed_percent == pytest.approx(40.0)
    assert measurement.mean_ms == pytest.approx(1.206)
    assert measurement.p99_ms == pytest.approx(1.5) and measurement.p90_ms == pytest.approx(1.5)
    assert measurement.timed_runs == 5
    low, high = measurement.interval_ms
    assert low <= measurement.p50_ms <= high


def test_disturbed_rounds_stay_in_the_record_and_count_for_no_median():
    disturbed = measurement_of((1.0, 1.002, 1.004, 1.01, 1.012, 1.014), disturbed_rounds=(3, 4, 5), is_calm=False)
    assert disturbed.p50_ms == pytest.approx(1.002) and disturbed.interval_ms[1] <= 1.004
    assert disturbed.timed_runs == 6 and disturbed.all_p50_ms == pytest.approx(1.007)
    assert measurement_of(disturbed.samples_ms).p50_ms == pytest.approx(1.007)
    content = json.loads(json.dumps(disturbed.to_json()))
    assert content["disturbed_rounds"] == [3, 4, 5] and content["calm"] is False
    assert Measurement.from_json(content) == disturbed


def test_an_interval_holds_a_limit_until_it_decides():
    measurement = measurement_of(np.linspace(0.98, 1.02, 40))
    low, high = measurement.interval_ms
    assert interval_holds((low, high), 1.0) and interval_holds((low, high), low)
    assert not interval_holds((low, high), high) and not interval_holds((low, high), 0.99 * low)


def test_the_90th_percentile_has_an_interval_that_covers_it():
    covered, true_ms = 0, float(np.exp(0.05 * 1.2815515655446004))
    for seed in range(100):
        measurement = measurement_of(np.exp(np.random.default_rng(seed).normal(0, 0.05, 120)))
        value, (low, high) = measurement.at("p90")
        assert value == measurement.p90_ms and low <= value <= high
        covered += low <= true_ms <= high
    assert 85 <= covered <= 100
    assert measurement.at("p50") == (measurement.p50_ms, measurement.interval_ms)
    assert interval_holds(measurement.p90_interval_ms, value) and not interval_holds(measurement.interval_ms, value)


def test_ratios_across_clocks_or_runs_are_refused():
    ours, theirs = measurement_of((1.0, 1.1, 1.2)), measurement_of((2.0, 2.2, 2.4))
    assert ours.ratio_to(theirs, "b") == paired_ratio(ours.samples_ms, theirs.samples_ms, "b")
    with pytest.raises(LatencyError, match="cpu and the wall clock cannot be compared"):
        ours.ratio_to(measurement_of((2.0, 2.2, 2.4), clock="wall"), "b")
    with pytest.raises(LatencyError, match="3 rounds cannot be paired with 2 rounds of b"):
        ours.ratio_to(measurement_of((2.0, 2.2)), "b")


def test_json_round_trip_keeps_every_sample():
    ratio = paired_ratio([1.0, 1.1], [2.0, 2.2], "largest")
    measurement = measurement_of((0.123456, 0.2), ratio=ratio)
    content = json.loads(json.dumps(measurement.to_json()))
    assert Measurement.from_json(content) == measurement
    assert content["p50_ms"] == measurement.p50_ms and content["samples_ms"] == [0.123456, 0.2]


def test_figures_in_a_file_cannot_contradict_its_samples():
    content = {**measurement_of((1.0, 1.0)).to_json(), "p50_ms": 0.5}
    assert Measurement.from_json(content).p50_ms == 1.0


def test_no_samples_or_a_foreign_file_are_refused():
    with pytest.raises(LatencyError, match="at least one sample"):
        measurement_of(())
    with pytest.raises(RecordError, match="Not a measurement"):
        Measurement.from_json({"p50_ms": 1.0})


def test_ratio_stays_narrow_where_the_machine_changes_speed():
    rng = np.random.default_rng(0)
    speed = np.where(np.arange(60) < 30, 1.0, 1.04) + np.linspace(0, 0.05, 60)
    reference = 2.0 * speed * rng.normal(1, 0.002, 60)
    samples = 1.0 * speed * rng.normal(1, 0.002, 60)
    ratio = paired_ratio(samples.tolist(), reference.tolist(), "largest")
    low, high = ratio.interval
    assert ratio.reference == "largest"
    assert low <= 0.5 <= high and high - low < 0.01
    assert ratio.p50 == pytest.approx(0.5, rel=0.005)


def measured(seed, *disturbances, rounds, **options):
    """Networks of known latency on a synthetic machine, by the whole protocol."""
    machine = Machine(seed, *disturbances, **options)
    latencies_ms = {"slower": 1.03 * TRUE_MS, "same": TRUE_MS, "reference": TRUE_MS, "small": 0.4}
    candidates = {name: partial(machine.candidate, latency_ms) for name, latency_ms in latencies_ms.items()}
    session = TimedSession(candidates, clock="cpu", threads=1, about="synthetic", seed=seed)
    session.take(rounds)
    return measurements_of(session)


@pytest.mark.parametrize("disturbances", SETTINGS, ids="+".join)
def test_a_planted_difference_is_found_and_none_is_invented(disturbances):
    found, invented, errors = 0, 0, []
    for seed in range(300):
        networks = measured(seed, *disturbances, rounds=60)
        planted = networks["slower"].ratio_to(networks["reference"], "reference")
        none = networks["same"].ratio_to(networks["reference"], "reference")
        found += planted.interval[0] > 1.0
        invented += not none.interval[0] <= 1.0 <= none.interval[1]
        errors.append(planted.p50 / 1.03 - 1.0)
    assert found >= 0.95 * 300
    assert invented <= 0.07 * 300
    assert abs(np.mean(errors)) < 0.001


@pytest.mark.parametrize("disturbance", [None, "modes", "spikes", "steps", "tails"])
def test_intervals_of_the_median_cover_the_latency_of_the_machine_left_to_itself(disturbance):
    disturbances = () if disturbance is None else (disturbance,)
    # What belongs to every call is part of the latency; what comes and goes is not.
    undisturbed = measured(1_000_000, *(set(disturbances) & {"spikes", "tails"}), rounds=2000)["same"].p50_ms
    assert undisturbed == pytest.approx(TRUE_MS, rel=0.01)
    covered, errors = 0, []
    for seed in range(100):
        network = measured(seed, *disturbances, rounds=80)["same"]
        low, high = network.interval_ms
        covered += low <= undisturbed <= high
        errors.append(network.p50_ms / undisturbed - 1.0)
    assert covered >= 85
    assert abs(np.mean(errors)) < 0.005 and np.mean(np.abs(errors) < 0.02) >= 0.95


def test_windows_tell_steps_that_noise_hides_in_single_samples():
    errors, errors_of_all = [], []
    for seed in range(200):
        network = measured(seed, "steps", rounds=80, noise=0.01)["same"]
        errors.append(network.p50_ms / TRUE_MS - 1.0)
        everything = measurement_of(network.samples_ms, is_quiet_median=network.is_quiet_median)
        errors_of_all.append(everything.p50_ms / TRUE_MS - 1.0)
    assert np.std(errors) < 0.9 * np.std(errors_of_all)


@pytest.mark.parametrize("variation", [0.01, 0.03, 0.05, 0.1])
def test_a_network_whose_own_latency_varies_has_a_p50_that_is_its_median(variation):
    p50s, ratios = [], []
    for seed in range(100):
        networks = measured(seed, rounds=60, noise=variation)
        p50s.append(networks["same"].p50_ms / TRUE_MS)
        ratios.append(networks["slower"].ratio_to(networks["reference"], "reference").p50 / 1.03)
    assert abs(np.mean(p50s) - 1.0) < 0.01 and abs(np.mean(ratios) - 1.0) < 0.01


def test_the_p50_is_of_quiet_samples_only_where_the_record_says_so():
    samples_ms = np.random.default_rng(0).normal(1.0, 0.05, 100)
    plain = measurement_of(samples_ms, is_quiet_median=False)
    assert plain.p50_ms == plain.calm_p50_ms == pytest.approx(1.0, abs=0.02)
    assert plain.quiet_p50_ms < 0.95 and measurement_of(samples_ms).p50_ms == plain.quiet_p50_ms
    assert plain.interval_ms[0] <= plain.p50_ms <= plain.interval_ms[1] and plain.disturbed_percent == 0.0
    content = json.loads(json.dumps(plain.to_json()))
    assert content["quiet_median"] is False and content["quiet_p50_ms"] < content["calm_p50_ms"]
    assert Measurement.from_json(content) == plain
