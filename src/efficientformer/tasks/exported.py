"""An exported file in place of a network that is scored."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from efficientformer.errors import RecordError
from efficientformer.formats.values import TaskName
from efficientformer.tasks.exported_file import ExportedFile

LOGITS = "logits"


class ExportedNetwork(nn.Module):
    """One output of an ONNX file for images (B, 3, H, W), one by one, in ONNX Runtime on the CPU: `output` is its name.

    Raises RecordError for a file that was not exported by this package or takes no normalized images.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__()
        self._file = file = ExportedFile(path, threads)
        if file.input.dtype.kind != "f":
            raise RecordError(f"{path} takes bytes, and is scored on normalized images. Export it again.")
        file.require_images()
        self.classes, self.preprocessing = file.about["classes"], file.preprocessing
        self.task: TaskName = file.task
        names = list(file.outputs)
        self.output = LOGITS if LOGITS in names else names[0]
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)  # scoring asks a network where it is

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.from_numpy(np.concatenate([self._file.run(self.output, x_CHW.numpy()) for x_CHW in x_BCHW]))
