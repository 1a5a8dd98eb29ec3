"""Weights files: ours, with tensors and metadata about their network, and other people's, with tensors alone."""

import argparse
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from efficientformer.errors import RecordError
from efficientformer.reading import checked, parse_json
from efficientformer.records import atomic_path

_ENTRY = "efficientformer"


def write_weights_file(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Raises RecordError when the file cannot be written."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        # One entry: safetensors writes several in random order, and the same network should make the same file.
        temporary.write_bytes(save(contiguous, {_ENTRY: json.dumps(dict(about), sort_keys=True)}))


def read_weights_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file. Raises RecordError when it is missing or not a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return checked(parse_json(metadata[_ENTRY]), dict[str, str]) if _ENTRY in metadata else metadata
    except (OSError, SafetensorError, ValueError) as error:
        raise RecordError(f"{path} is not a readable safetensors file ({error}).") from error


def read_tensors(path: Path) -> dict[str, Any]:
    """Content by name of a safetensors file or of a checkpoint that `torch.save` wrote.

    Raises RecordError when it cannot be read or is not a state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Official checkpoints also contain their command line, in a class of plain values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RecordError(f"{path} is not a readable weights file ({reason}).") from error
    if not isinstance(content, Mapping):
        raise RecordError(f"{path} contains a {type(content).__name__}, not a state dict.")
    return dict(content)
