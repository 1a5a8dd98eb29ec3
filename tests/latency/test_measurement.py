import json

import numpy as np
import pytest

from efficientformer.errors import LatencyError, RecordError
from efficientformer.latency.measurement import Measurement, paired_ratio


def make(samples_ms, **changes):
    values = {
        "samples_ms": samples_ms,
        "clock": "cpu",
        "warmup_runs": 3,
        "calls_per_sample": 2,
        "runtime": {"name": "onnxruntime"},
        "threads": 1,
        "batch_size": 1,
        "resolution": (28, 28),
        "provenance": {"machine": {"cpu": "A"}},
    }
    return Measurement(**{**values, **changes})


def test_figures_follow_from_the_samples():
    measurement = make((1.0, 1.02, 1.04, 1.5, 1.5))
    assert measurement.p50_ms == pytest.approx(1.02)
    assert measurement.all_p50_ms == pytest.approx(1.04)
    assert measurement.disturbed_percent == pytest.approx(40.0)
    assert measurement.mean_ms == pytest.approx(1.212)
    assert measurement.timed_runs == 5
    low, high = measurement.interval_ms
    assert low <= measurement.p50_ms <= high


def test_json_round_trip_keeps_every_sample():
    ratio = paired_ratio([1.0, 1.1], [2.0, 2.2], "largest")
    measurement = make((0.123456, 0.2), ratio=ratio)
    content = json.loads(json.dumps(measurement.to_json()))
    assert Measurement.from_json(content) == measurement
    assert content["p50_ms"] == measurement.p50_ms and content["samples_ms"] == [0.123456, 0.2]


def test_figures_in_a_file_cannot_contradict_its_samples():
    content = {**make((1.0, 1.0)).to_json(), "p50_ms": 0.5}
    assert Measurement.from_json(content).p50_ms == 1.0


def test_no_samples_or_a_foreign_file_are_refused():
    with pytest.raises(LatencyError, match="at least one sample"):
        make(())
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
