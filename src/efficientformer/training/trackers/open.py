"""Trackers by name."""

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from efficientformer.errors import UsageError
from efficientformer.training.trackers.tracker import Tracker

TrackerName = Literal["tensorboard", "wandb", "mlflow", "none"]
DATABASE = "mlflow.db"
"""Of MLflow, where there is no server."""
TITLES = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "mlflow": "MLflow"}


def tracker_name(asked: TrackerName | None) -> TrackerName:
    """That asked for; by default TensorBoard, where its package is installed."""
    return asked or ("tensorboard" if importlib.util.find_spec("tensorboard") else "none")


def tracker_opener(name: TrackerName, events: Path, training: str, title: str) -> Callable[[int], Tracker]:
    """Opens the tracker of a training at a step. training: its folder in `events`. title: its name where many runs
    are."""
    return partial(_open, name, events, training, title)


def viewed_with(name: TrackerName, events: Path) -> str:
    """How the curves are looked at."""
    match name:
        case "tensorboard":
            return f"tensorboard --logdir {events}"
        case "mlflow":
            server = os.environ.get("MLFLOW_TRACKING_URI")
            return f"MLflow, {server}" if server else f"mlflow ui --backend-store-uri sqlite:///{events / DATABASE}"
    return f"Weights & Biases; without a login they wait in {events} for wandb sync"


def _open(name: TrackerName, events: Path, training: str, title: str, step: int) -> Tracker:
    folder = events / training
    try:
        match name:
            case "tensorboard":
                from efficientformer.training.trackers.tensorboard import TensorBoard

                return TensorBoard(folder, step)
            case "wandb":
                from efficientformer.training.trackers.weights_and_biases import WeightsAndBiases

                return WeightsAndBiases(folder, title, step)
            case "mlflow":
                from efficientformer.training.trackers.ml_flow import MLflow

                return MLflow(folder, events / DATABASE, title, step)
    except ImportError as error:
        raise UsageError(f'{error}: pip install "efficientformer[{name}]"') from error
    raise AssertionError(name)
