"""Training a network by itself, by the run's settings for found networks (paper, section 5)."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from efficientformer.data.loader import eval_batches, steps_per_epoch
from efficientformer.data.mixing import build_mixing
from efficientformer.data.transforms import eval_transform
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.pipeline.fit_images import fit_images
from efficientformer.pipeline.oracles import load_supernet
from efficientformer.pipeline.workspace import Workspace
from efficientformer.records import digest, read_record, write_record
from efficientformer.search.accuracy import extract_network
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.classification import Classification, Scores, evaluate
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.events import EventLog
from efficientformer.training.loop import INITIAL_WEIGHTS, seed_step


def train_stand_alone(
    workspace: Workspace, subnet: Subnet, *, title: str, checkpoint: CheckpointFile, log: EventLog
) -> Network:
    """From new weights or the supernet's, as the settings say. Validation scores are logged, never acted upon."""
    network = train_network(workspace, initial_network(workspace, subnet), title=title, checkpoint=checkpoint, log=log)
    assert isinstance(network, Network)
    return network


def train_network(
    workspace: Workspace, network: nn.Module, *, title: str, checkpoint: CheckpointFile, log: EventLog
) -> nn.Module:
    """Any classifier of the run's images, from the weights that it comes with."""
    settings = workspace.settings.train
    num_classes = len(workspace.dataset.classes)

    def score(epoch: int, network: nn.Module) -> dict[str, float]:
        if epoch % settings.evaluate_every and epoch != settings.epochs:
            return {}
        return {"val_top1": validate(workspace, network).top1}

    return fit_images(
        workspace,
        network,
        Classification(build_mixing(settings.mixup, settings.cutmix, num_classes, settings.label_smoothing)),
        workspace.training_images,
        settings,
        title=title,
        checkpoint=checkpoint,
        log=log,
        on_epoch=score,
        ema_decay=settings.ema_decay,
        layer_decay=settings.layer_decay,
        frozen_steps=round(settings.frozen_epochs * steps_per_epoch(workspace.training_images, settings.batch_size)),
    )


def validate(workspace: Workspace, network: nn.Module) -> Scores:
    """Scores on all validation images."""
    transform = eval_transform(workspace.preprocessing)
    batches = eval_batches(workspace.dataset.val, transform, batch_size=250, workers=workspace.settings.workers)
    return evaluate(network, batches, len(workspace.dataset.classes))


def initial_network(workspace: Workspace, subnet: Subnet) -> Network:
    """With new weights or the supernet's, as the settings say."""
    settings = workspace.settings
    if settings.train.init == "supernet":
        return extract_network(load_supernet(workspace), subnet)
    seed_step(settings.seed, INITIAL_WEIGHTS)
    return create_model(
        subnet.architecture,
        num_classes=len(workspace.dataset.classes),
        resolution=settings.resolution,
        drop_path_rate=settings.train.drop_path_rate,
    )


def stand_alone_score(
    workspace: Workspace, folder: Path, what: Any, build: Callable[[], nn.Module], *, title: str
) -> dict[str, float]:
    """Top-1 (percent, on validation images) of a network trained from the weights it is built with, and its seconds.

    `folder` keeps a record for each network, under what tells it from others (`what`), the images and the settings:
    known ones are not trained again, one that was begun goes on, and several processes may share the folder.
    """
    about = [what, workspace.chosen("resolution", "seed", "train"), workspace.data_digest()]
    key = digest(about)[:16]
    record, checkpoint = folder / f"{key}.json", CheckpointFile(folder / f"{key}.pt", digest(about))
    if not record.exists():
        started = time.monotonic()
        log = EventLog(folder / f"{key}.metrics.jsonl")
        network = train_network(workspace, build(), title=title, checkpoint=checkpoint, log=log)
        top1 = validate(workspace, network).top1
        write_record(record, {"top1": top1, "seconds": time.monotonic() - started, "title": title})
    checkpoint.path.unlink(missing_ok=True)
    found = read_record(record)
    return {name: found[name] for name in ("top1", "seconds")}
