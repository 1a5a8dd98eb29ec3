"""ONNX files: one image size, one file, written atomically, with metadata about the model.

PyTorch's TorchScript exporter is used on purpose: it takes milliseconds per block where its successor takes seconds,
and a latency table needs hundreds of files. ONNX Runtime runs both results at the same speed.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import onnx
import torch
from google.protobuf.message import DecodeError
from torch import nn

from efficientformer.errors import RecordError
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
    with warnings.catch_warnings():
        # The exporter announces its successor, and the tracer that a grid becomes a constant: both are meant.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
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
