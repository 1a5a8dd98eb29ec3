"""ONNX files: one image size, one file, written atomically, with metadata about the model.

PyTorch's TorchScript exporter is used on purpose: it takes milliseconds per block where its successor takes seconds,
and a latency table needs hundreds of files. ONNX Runtime runs both results at the same speed.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import nn

from efficientformer.errors import RecordError
from efficientformer.models.network import Network
from efficientformer.records import atomic_path

# The first operator set with GELU as one node.
OPSET = 20


def export_onnx(
    module: nn.Module,
    input_shape: tuple[int, ...],
    path: Path,
    metadata: Mapping[str, str] = MappingProxyType({}),
    *,
    input_name: str = "images",
    output_name: str = "logits",
    dynamic_batch: bool = False,
) -> None:
    """Write `module`, which stays as it is, in evaluation mode for inputs of exactly `input_shape`, batch first.

    dynamic_batch: any number of images at a time; runtimes plan ahead less, and one image may take longer. Raises
    RecordError when the file cannot be written.
    """
    with atomic_path(path) as temporary:
        _write(module, input_shape, temporary, input_name, output_name, dynamic_batch)
        # Messages of this format that follow one another are one message with the fields of all.
        facts = onnx.ModelProto()
        onnx.helper.set_model_props(facts, dict(metadata))
        with temporary.open("ab") as file:
            file.write(facts.SerializeToString())
        onnx.checker.check_model(temporary)


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file. Raises RecordError when it is missing or no ONNX file."""
    try:
        model = onnx.load_model(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise RecordError(f"{path} is not a readable ONNX file ({error}). Export it again.") from error
    return {prop.key: prop.value for prop in model.metadata_props}


def write_onnx(module: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
    """Write a temporary file: not atomically, without a check and without metadata.

    Raises RecordError when it cannot be written.
    """
    try:
        _write(module, input_shape, path)
    except OSError as error:
        raise RecordError(f"Cannot write {path}: {error.strerror or error}. Free some space.") from error


def _write(
    module: nn.Module,
    input_shape: tuple[int, ...],
    path: Path,
    input_name: str = "images",
    output_name: str = "logits",
    dynamic_batch: bool = False,
) -> None:
    module = copy.deepcopy(module).cpu().eval()
    like = next(module.parameters(), torch.empty(0))
    example = torch.zeros(input_shape, dtype=like.dtype)
    for network in module.modules():
        if isinstance(network, Network) and len(input_shape) == 4:
            # Otherwise the file would resize bias tables in every call.
            network.set_resolution((input_shape[2], input_shape[3]))
    with warnings.catch_warnings():
        # The exporter announces its successor, the tracer that a grid becomes a constant, and the norm of a map that it
        # is one of each image: all are meant.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", "ONNX export mode is .* operator 'instance_norm'", UserWarning)
        # What drops overlapping boxes is a script of torchvision, with slices that stay in the file.
        warnings.filterwarnings("ignore", ".*torch.jit.script.* is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)
        # Indices of chosen boxes are not negative.
        warnings.filterwarnings("ignore", "Exporting aten::index operator", UserWarning)
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={name: {0: "batch"} for name in (input_name, output_name)} if dynamic_batch else None,
            opset_version=OPSET,
            dynamo=False,
        )
    if dynamic_batch:
        _resize_to_sizes(path)


def _resize_to_sizes(path: Path) -> None:
    """Rewrite the file's resizes to have sizes in place of scales.

    Shape inference, which quantizers need, takes 1.0 times an unknown number of images for another number.
    """
    model = onnx.load_model(path)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "Resize":
            images, result = node.input[0], node.output[0]
            batch, rest, sizes = (f"{result}/{name}" for name in ("batch", "rest", "sizes"))
            nodes += [
                onnx.helper.make_node("Shape", [images], [batch], start=0, end=1),
                onnx.helper.make_node("Concat", [batch, rest], [sizes], axis=0),
            ]
            constant = np.array(shapes[result][1:], dtype=np.int64)
            model.graph.initializer.append(onnx.numpy_helper.from_array(constant, rest))
            node.input[:] = [images, "", "", sizes]
        nodes.append(node)
    used = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    del model.graph.node[:]
    model.graph.node.extend(node for node in nodes if used.intersection(node.output))
    onnx.save_model(model, path)
