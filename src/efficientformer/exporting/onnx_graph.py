"""ONNX files that are read before a runtime or a converter gets them."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from efficientformer.errors import LatencyError


def read_graph(path: Path) -> ModelProto:
    """An ONNX file. Raises LatencyError."""
    try:
        model = onnx.load_model(path)
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
