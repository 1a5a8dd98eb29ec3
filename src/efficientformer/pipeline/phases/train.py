"""Phase `train`: train every network that slimming found (paper, section 5)."""

import time

from efficientformer.data.loader import steps_per_epoch
from efficientformer.models.weights import save_weights
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.stand_alone import train_stand_alone
from efficientformer.pipeline.workspace import FoundNetwork, Workspace
from efficientformer.provenance import provenance
from efficientformer.records import digest, write_record
from efficientformer.search.subnet import Subnet
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.events import EventLog


def run(workspace: Workspace) -> None:
    for network in workspace.found_networks():
        inputs = workspace.data_digest() | {"the architecture": digest(network.architecture.to_json())}
        if workspace.settings.train.init == "supernet":
            inputs |= workspace.digests(workspace.run_dir.supernet_weights)
            inputs |= {"the blocks of the supernet": digest([list(stage) for stage in network.origins])}
        stamp = Stamp(
            f"train {network.budget.slug}", settings=workspace.chosen("resolution", "seed", "train"), inputs=inputs
        )
        files = network.files
        workspace.run_shared_phase(
            stamp,
            [files.weights, files.train_record, files.architecture],
            lambda fingerprint, network=network: _train(workspace, network, fingerprint),
        )
        if workspace.world.is_first:
            files.checkpoint.unlink(missing_ok=True)


def _train(workspace: Workspace, found: FoundNetwork, fingerprint: str) -> None:
    settings, files = workspace.settings.train, found.files
    started = time.monotonic()
    network = train_stand_alone(
        workspace,
        Subnet(found.architecture, found.origins),
        title=f"training {found.budget.text}",
        checkpoint=CheckpointFile(files.checkpoint, fingerprint),
        log=EventLog(files.metrics),
    )
    if not workspace.world.is_first:
        return
    save_weights(network.cpu(), files.weights)
    classes = list(workspace.dataset.classes)
    write_record(
        files.architecture,
        {
            "architecture": found.architecture.to_json(),
            "resolution": workspace.settings.resolution,
            "num_classes": len(classes),
            "classes": classes,
            "preprocessing": workspace.preprocessing.to_json(),
        },
    )
    write_record(
        files.train_record,
        {
            "epochs": settings.epochs,
            "num_steps": settings.epochs * steps_per_epoch(workspace.training_images, settings.batch_size),
            "init": settings.init,
            "seconds": time.monotonic() - started,
            "provenance": provenance(),
        },
    )
