"""An exported file in place of a network that is scored."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import RecordError
from efficientformer.exporting.files import in_one_line
from efficientformer.formats.values import TaskName
from efficientformer.tasks.classification.prediction import ImageInput, exported_about, open_session

LOGITS = "logits"


class ExportedNetwork(nn.Module):
    """One output of an ONNX file for images (B, 3, H, W), one by one, in ONNX Runtime on the CPU: `output` is its name.

    Raises RecordError for a file that was not exported by this package or takes no normalized images.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__()
        self._path, self._session = path, open_session(path, threads)
        self._input = ImageInput(path, self._session)
        if self._input.dtype.kind != "f":
            raise RecordError(f"{path} takes bytes, and is scored on normalized images. Export it again.")
        about = exported_about(path, self._session.get_modelmeta().custom_metadata_map)
        self.classes = about["classes"]
        self.task: TaskName = about.get("task", "classification")
        self.preprocessing = Preprocessing.from_json(about["preprocessing"])
        self._input.check_size(self.preprocessing.grid)
        names = [item.name for item in self._session.get_outputs()]
        self.output = LOGITS if LOGITS in names else names[0]
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)  # scoring asks a network where it is

    def forward(self, x_BCHW: Tensor) -> Tensor:
        try:
            outputs = [self._session.run([self.output], self._input.feed(x_CHW.numpy()))[0] for x_CHW in x_BCHW]
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise RecordError(f"{self._path} cannot be run on an image: {in_one_line(error)}.") from error
        return torch.from_numpy(np.concatenate([np.asarray(output) for output in outputs]))
