"""The weights of a pretrained network to start from: their file, and the network that they give a run's classes."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficientformer.arch.resolution import Resolution, grid_of_input, resolution_text
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import RecordError, UsageError
from efficientformer.models.create import create_model
from efficientformer.models.hub import published_weights
from efficientformer.models.network import Network
from efficientformer.models.weights.load import WeightsWarning, architecture_of, load_network, read_about
from efficientformer.paths import usable_path
from efficientformer.pipeline.run.run_network import unknown_init
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.tasks.words import task_words
from efficientformer.training.loop import seed_initial_weights

COLORS = 3


def find_weights(init: str, weights: Path | None) -> Path:
    """The file of a pretrained network's weights.

    init: a name of `arch.zoo.ZOO`, or the path of a weights file: of this package, or of a published network.
    weights: a file of the published network's weights; by default they are downloaded.

    Raises UsageError if `init` is neither.
    """
    if init in ZOO:
        return usable_path(weights, "--weights") if weights else _downloaded(init)
    if weights is not None:
        raise UsageError(
            f"--weights is the file of a published network's weights, but --init {init} is a file. Leave one out."
        )
    if not usable_path(init, "--init").is_file():
        raise unknown_init(init)
    return Path(init)


def _downloaded(init: str) -> Path:
    try:
        return published_weights(init)
    except RecordError as error:
        raise RecordError(f"{str(error).removesuffix('.')}: --weights FILE.") from error


def pretrained_network(workspace: Workspace, init: str, source: Path) -> tuple[Network, dict[str, Any]]:
    """The network to train, and a part of its record: whether its head is new, and the resolution that its weights
    were trained at. Both are said, and so is what of the file is not loaded.

    source: its weights, by `find_weights`.

    Raises UsageError for a network of other images, RecordError if the weights cannot be read or do not fit.
    """
    network, about, messages = open_pretrained(workspace, init, source)
    for message in messages:
        workspace.console.say(message)
    size = _resolution_line(init, about.get("init_resolution"), workspace.settings.resolution)
    workspace.console.say(f"{size}; the head is {about['head']}")
    return network, about


def open_pretrained(workspace: Workspace, init: str, source: Path) -> tuple[Network, dict[str, Any], list[str]]:
    """The same, and what there is to say of the file; nothing is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", WeightsWarning)
        seed_initial_weights(workspace.settings.seed)
        if init not in ZOO and read_about(source):
            network, about = _of_file(workspace, source)
        else:
            network, about = _published(workspace, init if init in ZOO else architecture_of(source), source)
    return network, about, [str(warning.message) for warning in caught]


def _published(workspace: Workspace, architecture: Architecture | str, source: Path) -> tuple[Network, dict[str, Any]]:
    if isinstance(architecture, str) and workspace.task.words.is_dense:
        architecture = ZOO[architecture]
    network = create_model(
        workspace.with_task_head(architecture) if isinstance(architecture, Architecture) else architecture,
        pretrained=source,
        with_head=False,
        num_classes=len(workspace.dataset.classes),
        resolution=workspace.settings.resolution,
        drop_path_rate=workspace.settings.train.drop_path_rate,
    )
    return network, {"head": "new"}


def _of_file(workspace: Workspace, source: Path) -> tuple[Network, dict[str, Any]]:
    settings, classes = workspace.settings, list(workspace.dataset.classes)
    network, known = load_network(source), read_about(source)
    if network.in_chans != COLORS:
        raise UsageError(
            f"--init {source} is a network for images of {network.in_chans} channels, and those of a run have {COLORS}."
        )
    if workspace.with_task_head(network.architecture) != network.architecture:
        backbone, about = _published(workspace, network.architecture, source)
        return backbone, {"init_resolution": network.resolution, **about}
    fits = keeps_head(workspace, known) and network.num_classes == len(classes)
    about = {"init_resolution": network.resolution, "head": "kept" if fits else "new"}
    if not fits:
        network.reset_classifier(len(classes))
    return network.set_resolution(settings.resolution), about


def keeps_head(workspace: Workspace, known: Mapping[str, Any]) -> bool:
    """Whether a network was trained on the run's classes and task, by what its file says of it (`read_about`)."""
    is_of_task = task_words(known.get("task")) == workspace.task.words
    return is_of_task and known.get("classes") == list(workspace.dataset.classes)


def _resolution_line(init: str, trained_at: Any, resolution: Resolution) -> str:
    size = f"{resolution_text(resolution)} px"
    if trained_at is None:
        return f"{size}; --resolution overrides it"
    if grid_of_input(trained_at) == grid_of_input(resolution):
        return f"{size}, as {init} was trained; --resolution overrides it"
    return f"{size}; {init} was trained at {resolution_text(trained_at)} px"
