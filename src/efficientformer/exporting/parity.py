"""Whether an exported file still computes what the module computes."""

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn


@torch.inference_mode()
def onnx_parity(
    module: nn.Module, path: Path, input_shape: tuple[int, ...], *, num_images: int = 8, seed: int = 0
) -> float:
    """Largest absolute difference of any output between `module`, in evaluation mode, and the file in ONNX Runtime.

    Outputs (B, A, D) have distances in pixels: differences of those beyond 1 are relative to them.

    `input_shape` is the file's, batch first; at least `num_images` random images are compared. If an output
    is NaN, so is the result, which meets no tolerance.
    """
    session = _session(path)
    input_name = session.get_inputs()[0].name
    generator = torch.Generator().manual_seed(seed)
    module = copy.deepcopy(module).cpu().eval()
    differences = []
    for _ in range(-(-num_images // input_shape[0])):
        images = torch.randn(input_shape, generator=generator)
        (exported,) = session.run(None, {input_name: images.numpy()})
        expected = module(images)
        difference = (expected - torch.from_numpy(exported)).abs()
        differences.append((difference / expected.abs().clamp(min=1.0) if expected.dim() == 3 else difference).max())
    return torch.stack(differences).max().item()


def onnx_output(path: Path, x: np.ndarray) -> np.ndarray:
    """The first output of an ONNX file for `x`, its only input, by ONNX Runtime."""
    session = _session(path)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
