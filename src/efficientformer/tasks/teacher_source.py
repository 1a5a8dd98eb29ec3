"""What settings say of a teacher: where it comes from, and what it gives. No torch: stamps need it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DistillationKind = Literal["hard", "soft", "features"]
ONNX = (".onnx",)
WEIGHTS = (".safetensors",)
TORCHSCRIPT = (".pt", ".pth", ".ts", ".torchscript")
HUB = ("hf-hub", "hf_hub")
"""Prefixes of timm's names for networks of the hub."""


@dataclass(frozen=True)
class TeacherSource:
    """A published network, a file, or a published network with a file of its weights.

    name: of a network of timm's; None for a file that describes its network.
    file: None for published weights.
    """

    name: str | None
    file: Path | None

    @classmethod
    def parse(cls, text: str) -> "TeacherSource":
        """`NAME`, `FILE` or `NAME:FILE`."""
        name, colon, file = text.partition(":")
        if name in HUB:
            return cls(text, None)
        is_path_before = "/" in name or "\\" in name or len(name) < 2  # C: is a drive
        if colon and file and not is_path_before:
            return cls(name, Path(file))
        is_file = Path(text).suffix.lower() in (*ONNX, *WEIGHTS, *TORCHSCRIPT) or is_path_before
        return cls(None, Path(text)) if is_file else cls(text, None)

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.name, self.file) if part is not None)
