"""Files of users in other types than float32: fed what they ask for, counted whatever their weights are."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from tests.exported import FLOAT16, UINT8, write_classifier
from torch import nn

from efficientformer.analysis.comparison.compared_network import check_file, prepare_network
from efficientformer.analysis.comparison.graph_cost import graph_cost, precision_of
from efficientformer.analysis.comparison.network_source import find_sources
from efficientformer.cli.benchmark import _cells
from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.exporting.onnx import export_onnx
from efficientformer.latency.devices import open_runtime

SHAPE = (1, 3, 16, 16)
RUNTIMES = ("onnxruntime", "openvino")


class Images(CalibrationDataReader):
    def __init__(self) -> None:
        self._left = [input_sample(SHAPE) * scale for scale in (0.5, 1.0)]

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return {"images": self._left.pop()} if self._left else None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network as float32, float16 and in every kind of 8 bits, by file name."""
    folder = tmp_path_factory.mktemp("files")
    net = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 24, 3, 2, 1, groups=4), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)),
    )
    for part in net.parameters():
        torch.nn.init.normal_(part, std=0.3)
    export_onnx(net.eval(), SHAPE, folder / "float32.onnx")
    export_onnx(net.half(), SHAPE, folder / "float16.onnx")
    source = folder / "float32.onnx"
    quantize_dynamic(source, folder / "dynamic.onnx")
    quantize_static(source, folder / "qdq.onnx", Images(), quant_format=QuantFormat.QDQ)
    quantize_static(source, folder / "operators.onnx", Images(), quant_format=QuantFormat.QOperator)
    quantize_static(source, folder / "channels.onnx", Images(), quant_format=QuantFormat.QDQ, per_channel=True)
    return folder


QUANTIZED = ("dynamic", "qdq", "operators", "channels")


@pytest.mark.parametrize("name", ["float16", *QUANTIZED])
def test_parameters_are_counted_in_any_type(name: str, files: Path) -> None:
    expected = graph_cost(files / "float32.onnx", SHAPE)
    cost = graph_cost(files / f"{name}.onnx", SHAPE)
    assert cost.num_params == expected.num_params == 3 * 8 * 9 + 8 + 2 * 24 * 9 + 24 + 24 * 10 + 10
    assert cost.macs == (None if name == "operators" else expected.macs)


@pytest.mark.parametrize("name", ["float16", *QUANTIZED])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_in_any_type_is_opened_and_computes_what_it_should(name: str, runtime: str, files: Path) -> None:
    (source,) = find_sources([str(files / f"{name}.onnx")])
    network = prepare_network(source, None, files / "kept")
    assert network.precision == ("float16" if name == "float16" else "int8")
    assert network.deploy_form == f"as given, {network.precision}"
    try:
        output = open_runtime(runtime).open(network.path, network.input_shape).output()
    except LatencyError as error:
        assert (name, runtime) == ("operators", "openvino") and "cannot" in str(error)
        return
    off = np.abs(output.astype(np.float64) - network.logits).max() / network.logits.astype(np.float64).std()
    assert off <= network.tolerance


@pytest.mark.parametrize("dtype", [FLOAT16, UINT8, TensorProto.DOUBLE, TensorProto.INT8])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_input_of_any_type_is_fed(dtype: int, runtime: str, tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", dtype=dtype, shape=(1, 3, 8, 8))
    output = open_runtime(runtime).open(path, (1, 3, 8, 8)).output()
    x = input_sample((1, 3, 8, 8), onnx.helper.tensor_dtype_to_np_dtype(dtype)).astype(np.float64)
    expected = x.mean((0, 2, 3)) / (255 if dtype == UINT8 else 1)
    assert output.ravel() == pytest.approx(expected, abs=2e-3)
    assert output.std() > 0


def test_pixels_cover_their_range_and_floats_are_what_they_were() -> None:
    shape = (1, 3, 64, 64)
    floats = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    assert np.array_equal(input_sample(shape), floats) and input_sample(shape).dtype == np.float32
    pixels = input_sample(shape, np.uint8)
    assert pixels.dtype == np.uint8 and (pixels.min(), pixels.max()) == (0, 255) and 120 < pixels.mean() < 136
    signed = input_sample(shape, np.int8)
    assert np.array_equal(signed.astype(int) + 128, pixels.astype(int))


def test_an_input_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", dtype=TensorProto.BOOL)
    for runtime in RUNTIMES:
        with pytest.raises(LatencyError, match=r"m\.onnx takes images as .*bool"):
            open_runtime(runtime).open(path, (1, 3, 8, 8))


def test_mnn_feeds_pixels(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", dtype=UINT8)
    try:
        output = open_runtime("mnn").open(path, (1, 3, 8, 8)).output()
    except LatencyError as error:
        assert "uint8" in str(error) or "convert" in str(error)
        return
    expected = input_sample((1, 3, 8, 8), np.uint8).mean((0, 2, 3)) / 255
    assert output.ravel() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("shape", "resolution", "expected", "px"),
    [
        ((1, 3, 48, 64), None, (1, 3, 48, 64), "48x64"),
        ((1, 48, 64, 3), None, (1, 48, 64, 3), "48x64"),
        ((1, "h", "w", 3), 32, (1, 32, 32, 3), "32"),
        ((1, 3, 16, 16), None, (1, 3, 16, 16), "16"),
    ],
)
def test_sizes_are_height_and_width(
    shape: tuple[int | str, ...], resolution: int | None, expected: tuple[int, ...], px: str, tmp_path: Path
) -> None:
    path = write_classifier(tmp_path / "net.onnx", shape=shape)
    assert check_file(path, resolution) == expected
    network = prepare_network(*find_sources([str(path)]), resolution, tmp_path)
    row = {"title": "net", "resolution": list(network.resolution), "macs": 1, "top1": None, "results": []}
    assert _cells({**row, "num_params": network.num_params})[1] == px


def test_the_precision_is_that_of_the_weights(files: Path) -> None:
    assert [precision_of(files / f"{name}.onnx") for name in ("float32", "float16", "qdq", "dynamic")] == [
        *("float32", "float16", "int8", "int8")
    ]
