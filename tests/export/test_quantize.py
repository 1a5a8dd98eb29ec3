"""Exported files for tools that need every shape: their reshapes are constant, and ONNX Runtime quantizes them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from efficientformer.analysis.comparison.random_weights import randomize
from efficientformer.arch.parts import network_parts
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.parts import build_part, part_input_shape

from ..models.small import BOTH, BOTH_IDS

SHAPE_ARITHMETIC = {"Shape", "Gather", "Slice", "Concat", "Mod"}


@pytest.fixture(autouse=True)
def a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # shape inference leaves its files here when it fails


class RandomImages(CalibrationDataReader):
    def __init__(self, size: tuple[int, int]) -> None:
        generator = np.random.default_rng(0)
        self._left = [{"images": generator.standard_normal((1, 3, *size), dtype=np.float32)} for _ in range(3)]

    def get_next(self):
        return self._left.pop() if self._left else None


def logits(path, images):
    (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"images": images})
    return found


def computed_shapes(path) -> list[str]:
    """Reshapes to a shape that the file computes."""
    graph = onnx.load_model(path).graph
    constant = {item.name for item in graph.initializer}
    constant |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    # Equal constants are kept once and passed on.
    constant |= {node.output[0] for node in graph.node if node.op_type == "Identity" and node.input[0] in constant}
    return [node.name for node in graph.node if node.op_type == "Reshape" and node.input[1] not in constant]


@pytest.mark.parametrize("architecture", BOTH, ids=BOTH_IDS)
@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_an_int8_file_comes_of_an_exported_one(tmp_path, architecture, dynamic_batch):
    network = create_model(architecture, num_classes=5, resolution=(32, 48))
    randomize(network, (8, 3, 32, 48))
    exported, prepared, quantized = (tmp_path / f"{name}.onnx" for name in ("exported", "prepared", "quantized"))
    export_onnx(fuse(network), (1, 3, 32, 48), exported, dynamic_batch=dynamic_batch)
    quant_pre_process(exported, prepared)
    quantize_static(prepared, quantized, RandomImages((32, 48)))
    images = np.random.default_rng(1).standard_normal((3 if dynamic_batch else 1, 3, 32, 48), dtype=np.float32)
    expected, found = logits(exported, images), logits(quantized, images)
    assert 0 < abs(found - expected).max() < expected.std()
    assert any(node.op_type == "DequantizeLinear" for node in onnx.load_model(quantized).graph.node)


@pytest.mark.parametrize("architecture", BOTH, ids=BOTH_IDS)
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (33, 40)])
def test_reshapes_are_constant(tmp_path, architecture, folded, size):
    """Also at another size than the network was made for."""
    network = create_model(architecture, num_classes=5, resolution=size if folded else 48, has_distillation_head=True)
    for dynamic_batch in (False, True):
        path = tmp_path / f"{dynamic_batch}.onnx"
        export_onnx(fuse(network) if folded else network, (1, 3, *size), path, dynamic_batch=dynamic_batch)
        assert not computed_shapes(path)
        quant_pre_process(path, tmp_path / "prepared.onnx")


def test_a_fixed_file_computes_no_shapes(tmp_path):
    for architecture in BOTH:
        path = tmp_path / "model.onnx"
        export_onnx(fuse(create_model(architecture, num_classes=5, resolution=32)), (1, 3, 32, 32), path)
        assert not SHAPE_ARITHMETIC & {node.op_type for node in onnx.load_model(path).graph.node}


def test_parts_for_a_table_are_constant_too(tmp_path):
    for architecture in BOTH:
        for index, part in enumerate(network_parts(architecture, 32, 5)):
            path = tmp_path / f"{index}.onnx"
            export_onnx(fuse(build_part(part)), part_input_shape(part), path)
            assert not computed_shapes(path), part.key
