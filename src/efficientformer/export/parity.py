"""Whether an exported file still computes what the module computes."""

import copy
from pathlib import Path

import onnxruntime
import torch
from torch import nn


@torch.inference_mode()
def onnx_parity(
    module: nn.Module, path: Path, input_shape: tuple[int, ...], *, num_images: int = 8, seed: int = 0
) -> float:
    """Largest absolute difference of any output between `module`, in evaluation mode, and the file in ONNX Runtime.

    `input_shape` is the file's, batch first; at least `num_images` random images are compared. Outputs that are not a
    number make the result one that is not, and so no tolerance is met.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    generator = torch.Generator().manual_seed(seed)
    module = copy.deepcopy(module).cpu().eval()
    differences = []
    for _ in range(-(-num_images // input_shape[0])):
        images = torch.randn(input_shape, generator=generator)
        (exported,) = session.run(None, {input_name: images.numpy()})
        differences.append((module(images) - torch.from_numpy(exported)).abs().max())
    return torch.stack(differences).max().item()
