"""Weights files: ours, with tensors and metadata about their network, and other people's, with tensors alone.

Our files contain a digest of both, and archives that `torch.save` wrote contain a checksum of every part, which PyTorch
does not check. A file that was cut short or changed on its way is refused.
"""

import argparse
import contextlib
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from efficientformer.errors import RecordError
from efficientformer.reading import checked, parse_json
from efficientformer.records import atomic_path

_ARCHIVE = b"PK\x03\x04"
_IS_FOLDER = 0x10
_ENTRY, _DIGEST = "efficientformer", "sha256"


def write_weights_file(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Raises RecordError when the file cannot be written."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {**about, _DIGEST: _digest(contiguous, about)}
    with atomic_path(path) as temporary:
        # One entry: safetensors writes several in random order, and the same network should make the same file.
        temporary.write_bytes(save(contiguous, {_ENTRY: json.dumps(metadata, sort_keys=True)}))


def read_weights_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file. Raises RecordError when it is missing or not a safetensors file."""
    try:
        _refuse_pipe(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        metadata = checked(parse_json(metadata[_ENTRY]), dict[str, str]) if _ENTRY in metadata else metadata
        return {name: value for name, value in metadata.items() if name != _DIGEST}
    except Exception as error:  # of a damaged file a reader may raise anything
        raise _unreadable(path, error) from error


def read_tensors(path: Path) -> dict[str, Any]:
    """Content by name of a safetensors file or of a checkpoint that `torch.save` wrote.

    Raises RecordError when it cannot be read, is damaged or is not a state dict.
    """
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else read_archive(path)
    except Exception as error:  # of a damaged file a reader may raise anything
        raise _unreadable(path, error) from error
    if not isinstance(content, Mapping):
        raise RecordError(
            f"{path} contains a {type(content).__name__}, not a state dict. Save one: torch.save(model.state_dict(), "
            "FILE)."
        )
    return dict(content)


def read_archive(path: Path) -> Any:
    """Content of a file that `torch.save` wrote. Of a damaged file it raises anything."""
    _refuse_pipe(path)
    # Official checkpoints also contain their command line, in a class of plain values.
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, map_location="cpu", weights_only=True)
    with Path(path).open("rb") as file:
        is_archive = file.read(len(_ARCHIVE)) == _ARCHIVE  # before PyTorch 1.6 it was a plain pickle
    if is_archive:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            # PyTorch leaves the memory of a tensor as it is where its part is marked as a folder.
            if any(part.external_attr & _IS_FOLDER for part in parts):
                raise ValueError("a part of it is marked as a folder")
            # All are 0 where checksums were switched off.
            for part in parts if any(part.CRC for part in parts) else ():
                archive.read(part)
    return content


def _refuse_pipe(path: Path) -> None:
    """Opening a pipe would wait for its writer."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError("it is a pipe or a device, not a file")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    _refuse_pipe(path)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
    digest = about.pop(_DIGEST, None)
    if digest is not None and digest != _digest(tensors, about):
        raise ValueError("its content does not match its digest")
    return tensors


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """SHA-256 of the metadata and of the name, type, shape and values of every tensor."""
    return content_digest([dict(sorted(about.items())), dict(sorted(tensors.items()))])


def content_digest(content: Any) -> str:
    """SHA-256 of tensors and plain values, in mappings and lists of any nesting."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        match value:
            case Tensor():
                digest.update(f"{value.dtype} {list(value.shape)}".encode())
                digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
            case Mapping():
                digest.update(f"{len(value)} entries".encode())
                for name, entry in value.items():
                    add(name)
                    add(entry)
            case list() | tuple():
                digest.update(f"{len(value)} values".encode())
                for entry in value:
                    add(entry)
            case _:
                digest.update(f"{type(value).__name__} {value!r}".encode())

    add(content)
    return digest.hexdigest()


def require_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], network: str) -> None:
    """Raise RecordError that lists what of the tensors does not fit a network: `own` are its tensors, `network` words
    for it."""
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in own]
    for name in own.keys() & tensors.keys():
        if own[name].shape != tensors[name].shape:
            problems.append(f"{name} is {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}")
    if problems:
        listed = "; ".join(sorted(problems)[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        raise RecordError(
            f"The weights do not fit {network}: {listed}. Create the network that they were made for and change its "
            "resolution with at_resolution, or call load_weights with resize_bias=True, which resizes attention_bias, "
            "or with_head=False, which leaves out the head."
        )


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in errors about its content."""
    try:
        yield
    except RecordError as error:
        raise error if str(path) in str(error) else RecordError(f"{path}: {error}") from error


def _unreadable(path: Path, error: Exception) -> RecordError:
    reason = reason_in_one_line(error)
    if path.is_dir():
        remedy = "Give a file in it."
    elif not path.exists():
        remedy = "Give the path of an existing file."
    elif "global" in reason.lower():
        remedy = "It contains more than tensors, which could run code. Save its state dict alone."
    else:
        remedy = "It is damaged or no file of weights: copy, download or make it again."
    return RecordError(f"{path} is not a readable weights file ({reason}). {remedy}")


def reason_in_one_line(error: Exception) -> str:
    """The reason of a reader in one line; PyTorch's has advice around it, in colors."""
    lines = [" ".join(line.split()) for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()]
    telling = [line for line in lines if re.search(r"WeightsUnpickler error: |^Trying to load ", line)]
    reason = (telling or [line for line in lines if line] or [""])[0].removeprefix("WeightsUnpickler error: ")
    reason = re.split(r"\. (?:Please|Check|This file can|In PyTorch)", reason)[0].rstrip(".")
    return reason[:300] or type(error).__name__
