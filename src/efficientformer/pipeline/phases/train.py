"""Phase `train`: train every network that slimming found (paper, section 5)."""

from efficientformer.pipeline.networks.side_by_side import side_by_side
from efficientformer.pipeline.networks.stand_alone import initial_network
from efficientformer.pipeline.networks.trained import train_network
from efficientformer.pipeline.run.outputs import run_networks
from efficientformer.pipeline.run.plan import TRAIN
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.search.subnet import Subnet


def run(workspace: Workspace) -> None:
    networks = run_networks(workspace)
    one_by_one = networks
    if workspace.settings.training_processes > 1 and len(networks) > 1 and workspace.world.size == 1:
        # Also a single one that is left: with more threads it would end with other bits.
        one_by_one = [network for network in networks if TRAIN.problem(workspace, network) is None]
        left = [network for network in networks if network not in one_by_one]
        side_by_side(workspace, left, train_found, doing="training")
    for network in one_by_one:
        train_found(workspace, network)


def train_found(workspace: Workspace, network: RunNetwork) -> None:
    assert network.architecture is not None
    subnet, init = Subnet(network.architecture, network.origins), workspace.settings.train.init
    train_network(workspace, TRAIN, network, lambda: initial_network(workspace, subnet, network.version), init=init)
