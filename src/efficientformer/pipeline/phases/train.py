"""Phase `train`: train every network that slimming found (paper, section 5)."""

from efficientformer.pipeline.networks.stand_alone import initial_network
from efficientformer.pipeline.networks.trained import Trained, train_trained
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.records import digest
from efficientformer.search.subnet import Subnet


def run(workspace: Workspace) -> None:
    init = workspace.settings.train.init
    for found in workspace.found_networks():
        inputs = {"the architecture": digest(found.architecture.to_json())}
        if init == "supernet":
            inputs |= workspace.digests(workspace.run_dir.supernet_weights)
            inputs |= {"the blocks of the supernet": digest([list(stage) for stage in found.origins])}
        subnet = Subnet(found.architecture, found.origins)
        train_trained(
            workspace,
            Trained.of(found),
            lambda subnet=subnet: initial_network(workspace, subnet),
            phase="train",
            inputs=inputs,
            init=init,
        )
