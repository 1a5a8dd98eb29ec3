"""Phase `train`: train every network that slimming found (paper, section 5)."""

import time

from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.stand_alone import train_stand_alone
from efficientformer.pipeline.trained import Trained, keep_trained
from efficientformer.pipeline.workspace import FoundNetwork, Workspace
from efficientformer.records import digest
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
    started = time.monotonic()
    network = train_stand_alone(
        workspace,
        Subnet(found.architecture, found.origins),
        title=f"training {found.budget.text}",
        checkpoint=CheckpointFile(found.files.checkpoint, fingerprint),
        log=EventLog(found.files.metrics),
    )
    if workspace.world.is_first:
        seconds = time.monotonic() - started
        keep_trained(workspace, Trained.of(found), network, init=workspace.settings.train.init, seconds=seconds)
