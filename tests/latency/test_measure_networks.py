import json
from pathlib import Path

import pytest
import torch

from efficientformer.arch.space import QUICK
from efficientformer.errors import LatencyError
from efficientformer.export.onnx import export_onnx
from efficientformer.latency.measure_networks import measure_files
from efficientformer.latency.measurement import Measurement
from efficientformer.latency.runtimes import open_runtime
from efficientformer.models.fuse import fuse
from efficientformer.models.network import create_model

SHAPE = (1, 3, 28, 28)
ORT = open_runtime("onnxruntime")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    paths = {}
    for name, architecture in {"largest": QUICK.largest(), "smallest": QUICK.smallest()}.items():
        network = fuse(create_model(architecture, num_classes=10, resolution=28, layer_scale_init=0.5))
        paths[name] = folder / f"{name}.onnx"
        export_onnx(network, SHAPE, paths[name])
    return paths


def test_files_are_measured_side_by_side(files):
    measured = measure_files(files, SHAPE, ORT, "cpu", 40, reference="largest")
    assert set(measured) == set(files)
    for measurement in measured.values():
        assert measurement.timed_runs == 40 and measurement.clock == "cpu" and measurement.threads == 1
        assert measurement.resolution == (28, 28) and measurement.batch_size == 1
        low, high = measurement.interval_ms
        assert 0 < low <= measurement.p50_ms <= high
        assert measurement.runtime["name"] == "onnxruntime"
        assert measurement.provenance["machine"]["cpu"]
        assert Measurement.from_json(json.loads(json.dumps(measurement.to_json()))) == measurement
    largest, smallest = measured["largest"].ratio, measured["smallest"].ratio
    assert largest is not None and largest.p50 == 1.0 and largest.interval == (1.0, 1.0)
    # Seven attention blocks and four times the widths: the order holds by a wide margin on any machine.
    assert smallest is not None and smallest.interval[1] < 0.5
    assert smallest.p50 == pytest.approx(measured["smallest"].p50_ms / measured["largest"].p50_ms, rel=1e-3)


def test_wall_clock_and_threads_are_recorded(files):
    measured = measure_files(files, SHAPE, open_runtime("onnxruntime", 2), "wall", 40, min_sample_ms=0)
    assert measured["largest"].threads == 2 and measured["largest"].clock == "wall"
    assert measured["largest"].ratio is None


def test_bad_requests_are_refused(files, tmp_path):
    with pytest.raises(LatencyError, match="ask for 40 or more"):
        measure_files(files, SHAPE, ORT, "cpu", 10)
    with pytest.raises(LatencyError, match="reference 'x'"):
        measure_files(files, SHAPE, ORT, "cpu", 40, reference="x")
    with pytest.raises(LatencyError, match="one thread"):
        measure_files(files, SHAPE, open_runtime("onnxruntime", 2), "cpu", 40)
    with pytest.raises(LatencyError, match="does not exist"):
        measure_files({"a": tmp_path / "none.onnx"}, SHAPE, ORT, "cpu", 40)
