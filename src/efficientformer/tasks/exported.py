"""An exported file in place of a network that is scored."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from efficientformer.errors import RecordError
from efficientformer.formats.values import TaskName
from efficientformer.tasks.classification.prediction import reading_of
from efficientformer.tasks.exported_file import ExportedFile, opened

LOGITS = "logits"
SMALLEST = torch.finfo(torch.float32).tiny
"""Of a probability whose logarithm is taken: smaller ones are the same."""


class ExportedNetwork(nn.Module):
    """One output of an exported file for images (B, 3, H, W), one by one, in its runtime on the CPU: `output` is its
    name. Of a classifier that ends in a softmax it is the logarithm, which has the probabilities of the file.

    Raises RecordError for a file that was not exported by this package or takes no normalized images.
    """

    def __init__(self, model: Path | ExportedFile, threads: int | None = None) -> None:
        super().__init__()
        self._file = file = opened(model, threads)
        if file.input.dtype.kind != "f":
            raise RecordError(f"{file.path} takes bytes, and is scored on normalized images. Export it again.")
        file.require_images()
        self.classes, self.preprocessing = file.about["classes"], file.preprocessing
        self.task: TaskName = file.task
        names = list(file.outputs)
        self.output = LOGITS if LOGITS in names else names[0]
        reading = reading_of(file, self.output) if self.task == "classification" else None
        self._gives_probabilities = reading is not None and reading.task == "classification"
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)  # scoring asks a network where it is

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y = torch.from_numpy(np.concatenate([self._file.run(self.output, x_CHW.numpy()) for x_CHW in x_BCHW]))
        return y.float().clamp(min=SMALLEST).log() if self._gives_probabilities else y
