"""An ONNX file as a classifier in PyTorch: it runs in ONNX Runtime, image by image, and has no gradient."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import RecordError
from efficientformer.formats.values import TaskName
from efficientformer.tasks.classification.prediction import Reading, reading_of
from efficientformer.tasks.exported_file import ExportedFile
from efficientformer.tasks.teachers import resized
from efficientformer.tasks.words import task_words

SMALLEST = 1e-12
"""Of a probability whose logarithm is taken."""


class OnnxClassifier(nn.Module):
    """Images (B, 3, H, W) to logits (B, K). Of a file that ends in a softmax, logits are the logarithms of its scores,
    of one that ends in a sigmoid those of their odds.

    classes: their names, from the metadata of a file that this package exported; else None.
    task: what the file says that it was trained for, or its last operator; None where neither does.
    preprocessing: of its images; None for another file, which gets the student's images, at the size that it takes.

    Raises RecordError for a file that cannot be opened, is not fed with images, or has several outputs none of which
    is called logits.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = file = ExportedFile(path, threads=torch.get_num_threads())
        dtype = file.input.dtype  # refuses what takes no images, before its metadata are read
        self.classes: list[str] | None = None
        self.preprocessing: Preprocessing | None = None
        self.task: TaskName | None = None
        if "classes" in file.metadata:
            self.classes, self.preprocessing = file.about["classes"], file.preprocessing
            self.task = task_words(file.task).name
        elif dtype == np.uint8:
            raise RecordError(f"Teacher {path} takes pixels, not normalized images. Export it for these.")
        self._output = self._scores_output()
        self._reading = reading_of(file, self._output)
        if self.task is None and self._reading is not None:
            self.task = self._reading.task

    def forward(self, images_BCHW: Tensor) -> Tensor:
        if self.preprocessing is None and (grid := self._file.input.fixed_grid) is not None:
            images_BCHW = resized(images_BCHW, grid)
        images = self._fed(images_BCHW.float().cpu().numpy())
        scores = [self._file.run(self._output, image).astype(np.float32) for image in images]
        scores_BK = torch.from_numpy(np.concatenate(scores))
        return self._logits(scores_BK).to(images_BCHW.device)

    def _logits(self, scores_BK: Tensor) -> Tensor:
        match self._reading:
            case None:
                return scores_BK
            case Reading(task="multi_label"):
                return scores_BK.double().logit(eps=SMALLEST).float()
        return scores_BK.clamp(min=SMALLEST).log()

    def _fed(self, images_BCHW: np.ndarray) -> np.ndarray:
        """As pixels from 0 to 255 for a file that takes these."""
        if self._file.input.dtype != np.uint8 or self.preprocessing is None:
            return images_BCHW
        mean, std = (np.array(values).reshape(3, 1, 1) for values in (self.preprocessing.mean, self.preprocessing.std))
        return np.clip(np.round(255 * (images_BCHW * std + mean)), 0, 255)

    def _scores_output(self) -> str:
        names = list(self._file.outputs)
        if len(names) == 1:
            return names[0]
        if "logits" in names:
            return "logits"
        raise RecordError(
            f"Teacher {self._file.path} has several outputs ({', '.join(names)}). Name the scores 'logits'."
        )
