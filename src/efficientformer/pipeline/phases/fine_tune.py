"""Phase `fine-tune`: train a published network, or one of another run, on the run's images; score and export it."""

from pathlib import Path

from efficientformer.pipeline.networks.pretrained import find_weights, pretrained_network
from efficientformer.pipeline.networks.timed import time_network
from efficientformer.pipeline.networks.trained import evaluate_network, export_network, require_crop, train_network
from efficientformer.pipeline.run.inputs import START_WEIGHTS
from efficientformer.pipeline.run.plan import FINE_TUNE
from efficientformer.pipeline.run.run_network import RunNetwork, name_of_init
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.records import file_digest


def run(workspace: Workspace, init: str, weights: Path | None = None) -> RunNetwork:
    """Train a pretrained network, with a new head unless its file has the run's classes in their order.

    init: a name of `arch.zoo.ZOO`, or the path of a weights file of this package.
    weights: a file of the published network's weights; by default they are downloaded.

    Raises UsageError if `init` is neither, RecordError if the weights cannot be read or do not fit.
    """
    if workspace.teacher is not None:
        workspace.console.say(f"teacher {workspace.settings.train.teacher}, {workspace.settings.train.distillation}")
    source = find_weights(init, weights)
    require_crop(workspace)
    network, about = pretrained_network(workspace, init, source)
    name = name_of_init(init)
    files, start = workspace.run_dir.network(name), {START_WEIGHTS: file_digest(source)}
    tuned = RunNetwork(name, name, network.architecture, files, {"init": name}, starts_from=start)
    train_network(workspace, FINE_TUNE, tuned, lambda: network, init=name, about=about)
    if workspace.world.size == 1:
        evaluate_network(workspace, tuned)
        export_network(workspace, tuned)
        time_network(workspace, tuned)
        workspace.console.say(str(files.onnx))
    elif workspace.world.is_first:
        workspace.console.say("trained; run the same command without torchrun to score and export it")
    return tuned
