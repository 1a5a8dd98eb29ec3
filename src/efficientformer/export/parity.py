"""Whether an exported file still computes what the module computes."""

from pathlib import Path

import onnxruntime
import torch
from torch import nn


@torch.inference_mode()
def onnx_parity(
    module: nn.Module, path: Path, input_shape: tuple[int, ...], *, num_images: int = 8, seed: int = 0
) -> float:
    """Largest absolute difference of any output between `module` and the file in ONNX Runtime on random images.

    `input_shape` is the file's, batch first; at least `num_images` images are compared. The module is left in the mode
    in which it came.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    generator = torch.Generator().manual_seed(seed)
    was_training = module.training
    module.eval()
    difference = 0.0
    for _ in range(-(-num_images // input_shape[0])):
        images = torch.randn(input_shape, generator=generator)
        (exported,) = session.run(None, {input_name: images.numpy()})
        expected = module(images)
        difference = max(difference, float((expected - torch.from_numpy(exported)).abs().max()))
    module.train(was_training)
    return difference
