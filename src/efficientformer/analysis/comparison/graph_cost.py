"""Costs of an exported graph, counted in the same way for networks of any origin.

MACs are those of convolutions and matrix products, as in `arch.cost` and the paper's tables.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from efficientformer.exporting.onnx_graph import read_graph
from efficientformer.leftovers import temporary_folder

Shape = tuple[int, ...]
UNCOUNTED = {"Einsum", "Attention", "MultiHeadAttention", "LSTM", "GRU", "RNN", "QLinearMatMul", "QLinearConv"}
UNCOUNTED |= {"FusedConv", "FusedMatMul", "QGemm", "If", "Loop", "Scan"}
"""Operators with products that this module does not count; the MACs of a graph with one of them are unknown."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
WEIGHTS = {*FLOATS, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4, TensorProto.INT16}
WEIGHTS |= {TensorProto.UINT16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2}
# Inputs that are scales or zero points, by operator: what they describe is counted, they are not.
SCALES = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (1, 2)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), (2, 3)),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (1, 2, 4, 5, 6, 7)),
    "QGemm": (1, 2, 4, 5, 7, 8),
}
# Inputs that are parameters although their type is that of indices too: 32-bit biases.
BIASES = {"DequantizeLinear": 0, "QLinearConv": 8, "QGemm": 6}
QUANTIZED = {*SCALES, "DynamicQuantizeLinear"}


@dataclass(frozen=True)
class GraphCost:
    """Cost of a graph; `macs` is None if it has operators that are not counted. `num_params` counts all constants
    except scalars, indices and shapes, and the scales of quantized ones: as many in a quantized file as before."""

    macs: int | None
    num_params: int


def graph_cost(path: Path, input_shape: Shape) -> GraphCost:
    """Cost of one call with an input of that shape. Raises LatencyError for a file that is not an ONNX graph."""
    model = read_graph(path)
    num_params = _num_params(model.graph)
    _fix_input(model.graph, input_shape)
    try:
        model = onnx.shape_inference.infer_shapes(_folded(model))
        shapes = _shapes(model.graph)
        return GraphCost(sum(_macs(node, shapes) for node in model.graph.node), num_params)
    except (KeyError, ValueError, RuntimeError, OSError):  # No shape, an operator that is not counted, a faulty graph.
        return GraphCost(None, num_params)


def precision_of(path: Path) -> str:
    """`int8` for a file with quantized operators, else the type of its largest weights. Raises LatencyError."""
    graph = read_graph(path, weights=False).graph
    if any(node.op_type in QUANTIZED for node in graph.node):
        return "int8"
    floats = [tensor for tensor in graph.initializer if tensor.data_type in FLOATS]
    if not floats:
        return "float32"
    largest = max(floats, key=lambda tensor: math.prod(tensor.dims))
    name = TensorProto.DataType.Name(largest.data_type).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _macs(node: NodeProto, shapes: dict[str, Shape]) -> int:
    match node.op_type:
        case "Conv" | "ConvInteger":
            return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        case "ConvTranspose":
            return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
        case "MatMul" | "MatMulInteger":
            return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        case "Gemm":
            transposed = any(item.name == "transA" and item.i for item in node.attribute)
            return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]
        case other if other in UNCOUNTED:
            raise KeyError(other)
    return 0


def _shapes(graph: GraphProto) -> dict[str, Shape]:
    """Every static shape, by the name of its tensor."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for item in (*graph.input, *graph.value_info, *graph.output):
        sizes = item.type.tensor_type.shape.dim
        if item.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            shapes[item.name] = tuple(size.dim_value for size in sizes)
    return shapes


def _fix_input(graph: GraphProto, input_shape: Shape) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    images = next(item for item in graph.input if item.name not in constants)
    for size, value in zip(images.type.tensor_type.shape.dim, input_shape, strict=True):
        size.dim_value = value


def _folded(model: ModelProto) -> ModelProto:
    """The graph with constants folded: with a fixed input size, computed sizes become constant."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with temporary_folder() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load_model(options.optimized_model_filepath)


def _num_params(graph: GraphProto) -> int:
    scales = {name for node in graph.node for name in _inputs(node, SCALES.get(node.op_type, ()))}
    biases = {name for node in graph.node if node.op_type in BIASES for name in _inputs(node, [BIASES[node.op_type]])}
    sizes = [
        math.prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.name not in scales
        and (tensor.data_type in WEIGHTS or (tensor.data_type == TensorProto.INT32 and tensor.name in biases))
    ]
    return sum(size for size in sizes if size > 1)


def _inputs(node: NodeProto, places: Sequence[int]) -> list[str]:
    return [node.input[place] for place in places if place < len(node.input)]
