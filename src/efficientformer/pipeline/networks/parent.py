"""The parent: a trained network, fine-tuned on the run's images, that all networks of the run are cut from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficientformer.errors import UsageError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_weights, save_weights
from efficientformer.pipeline.networks.pretrained import find_weights, open_pretrained, pretrained_network
from efficientformer.pipeline.networks.stand_alone import scores_on, train_images
from efficientformer.pipeline.run.inputs import weights_metadata
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.search.parent import require_largest
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog


def require_parent(workspace: Workspace) -> None:
    """Raises what `fine_tuned_parent` and `inherit` raise for a parent that cannot be slimmed as the settings say.

    Before anything is measured. Once its weights are in the run the parent is not needed.
    """
    settings = workspace.settings.parent
    if settings.init is None or workspace.run_dir.supernet_weights.exists():
        return
    source = find_weights(settings.init, None if settings.weights is None else Path(settings.weights))
    network, about, _ = open_pretrained(workspace, settings.init, source)
    require_largest(workspace.space, network.architecture)
    if not settings.epochs:
        _require_as_it_is(workspace, settings.init, network, about)


def fine_tuned_parent(workspace: Workspace, fingerprint: str) -> tuple[Network, dict[str, Any]]:
    """The network of --init, fine-tuned by the settings of `parent` and kept in the run; and a part of its record.

    It is trained on the images that a supernet would be, so that the held-out ones can score what is cut from it.
    Raises UsageError for a parent that has to be fine-tuned and is not.
    """
    settings, run_dir = workspace.settings.parent, workspace.run_dir
    assert settings.init is not None
    source = find_weights(settings.init, None if settings.weights is None else Path(settings.weights))
    network, about = pretrained_network(workspace, settings.init, source)
    network = _with_one_head(network)
    splits = search_splits(workspace)
    if settings.epochs:
        network = train_images(
            workspace,
            network,
            title="fine-tuning the parent",
            checkpoint=CheckpointFile(run_dir.supernet_checkpoint, fingerprint),
            log=MetricsLog(run_dir.supernet_metrics),
            settings=settings,
            splits=splits,
        ).network
    else:
        _require_as_it_is(workspace, settings.init, network, about)
    assert isinstance(network, Network)
    keep_parent(workspace, network)
    score = scores_on(workspace, network.to(workspace.training_device), splits[1]).primary
    workspace.console.say(f"the parent scores {score:.1f} % on held-out images")
    return network, {"init": settings.init, **about, workspace.task.words.primary: score}


def keep_parent(workspace: Workspace, network: Network) -> None:
    """Write the parent's weights into the run."""
    network.preprocessing = workspace.preprocessing.to_json()
    if workspace.world.is_first:
        save_weights(network.cpu(), workspace.run_dir.parent_weights, weights_metadata(workspace))


def _with_one_head(network: Network) -> Network:
    """The network, or, where a teacher left it with two heads, one that computes the same with their mean."""
    if network.head_dist is None:
        return network
    merged = create_model(network.architecture, num_classes=network.num_classes, resolution=network.resolution)
    load_weights(merged, network.state_dict())
    merged.preprocessing = network.preprocessing
    return merged


def _require_as_it_is(workspace: Workspace, init: str, network: Network, about: Mapping[str, Any]) -> None:
    """Raises UsageError for a parent that has to be fine-tuned."""
    problem = None
    if about["head"] == "new":
        problem = "its head was trained on other classes"
    elif network.preprocessing not in (None, workspace.preprocessing.to_json()):
        problem = "its images were prepared otherwise"
    if problem:
        raise UsageError(f"--parent.epochs 0 takes {init} as it is, but {problem}. Give it epochs.")
