"""Weights & Biases: a run for each training. Without a login it is written to the run directory, for `wandb sync`."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import wandb  # type: ignore[import-not-found]

from efficientformer.records import write_text

PROJECT = "efficientformer"


class WeightsAndBiases:
    """The run of a training, by an identity that is kept in `folder`.

    A training that is resumed repeats the steps since its checkpoint, with the same values: W&B keeps the first.
    """

    def __init__(self, folder: Path, title: str, step: int) -> None:
        kept = folder / "wandb.id"
        if not step or not kept.is_file():
            write_text(kept, secrets.token_hex(4) + "\n")
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=title,
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(folder),
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(console="off", silent=True, disable_git=True),
        )

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        self._run.log(dict(scores), step=step)

    def close(self) -> None:
        self._run.finish()
