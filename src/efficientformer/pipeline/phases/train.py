"""Phase `train`: train every network that slimming found (paper, section 5)."""

from efficientformer.pipeline.networks.stand_alone import initial_network
from efficientformer.pipeline.networks.trained import train_network
from efficientformer.pipeline.run.outputs import run_networks
from efficientformer.pipeline.run.plan import TRAIN
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.search.subnet import Subnet


def run(workspace: Workspace) -> None:
    init = workspace.settings.train.init
    for network in run_networks(workspace):
        subnet = Subnet(network.architecture, network.origins)
        train_network(workspace, TRAIN, network, lambda subnet=subnet: initial_network(workspace, subnet), init=init)
