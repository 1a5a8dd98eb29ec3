"""ONNX files that are read before a runtime or a converter gets them."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from efficientformer.errors import LatencyError

COLORS = 3
PASSED_ON = {"Cast", "Identity", "Reshape", "Squeeze", "Flatten", "QuantizeLinear", "DequantizeLinear"}
"""Operators that leave probabilities what they are."""


def read_graph(path: Path, *, weights: bool = True) -> ModelProto:
    """An ONNX file; without `weights` those in further files are not read. Raises LatencyError."""
    try:
        model = onnx.load_model(path, load_external_data=weights)
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise LatencyError(f"{path} is not a readable ONNX file ({error}). Export the network again.") from error
    if not model.graph.node:
        raise LatencyError(f"{path} is not an ONNX network: it has no operators. Export the network again.")
    return model


def declared_inputs(model: ModelProto) -> list[tuple[str, list[int | None]]]:
    """Name and shape of every input that is no constant; None stands for a size that is open."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        (
            item.name,
            [size.dim_value if size.HasField("dim_value") else None for size in item.type.tensor_type.shape.dim],
        )
        for item in model.graph.input
        if item.name not in constants
    ]


def is_channels_last(shape: Sequence[int | str | None]) -> bool:
    """Whether images of this shape are (batch, height, width, 3), as TensorFlow has them."""
    return len(shape) == 4 and shape[3] == COLORS and shape[1] != COLORS


def last_operator(model: ModelProto, output: str) -> str | None:
    """The operator that this output of the graph comes from, behind those that leave probabilities what they are."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in PASSED_ON:
        node = makers.get(node.input[0])
    return None if node is None else node.op_type
