"""TensorBoard: event files in the run directory."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Events in `folder`. Those after `step`, which a killed training or an earlier one left, are not shown."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        for name, value in scores.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a killed training leaves what metrics.jsonl has

    def close(self) -> None:
        self._writer.close()
