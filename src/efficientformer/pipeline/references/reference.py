"""A reference as a network of the run: its folder, its weights, and the run with images as it has them."""

from dataclasses import replace
from pathlib import Path

from efficientformer.analysis.comparison.network_source import published_source
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.paths import usable_path
from efficientformer.pipeline.run.inputs import START_WEIGHTS
from efficientformer.pipeline.run.plan import EVALUATE, EXPORT, TUNE_REFERENCE
from efficientformer.pipeline.run.run_network import RunNetwork, read_references, reference_names
from efficientformer.pipeline.run.stamps import MISSING, read_stamp
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import shown_path
from efficientformer.records import file_digest

ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


def reference_network(workspace: Workspace, name: str) -> RunNetwork:
    """The published network called `name`, in its folder, with what its training starts from."""
    source, files = published_source(name), workspace.run_dir.reference(name)
    network = RunNetwork(
        name=f"reference {name}",
        title=name,
        architecture=ZOO[source.target] if source.kind == "zoo" else None,
        files=files,
        about={"network": name},
    )
    made = read_stamp(workspace.run_dir.stamp(TUNE_REFERENCE.title(network)))
    file = _place_of_weights(workspace, name)
    # Published weights are downloaded: the name stands for them. A file, once read, does not have to be there.
    now = "as published" if file is None else file_digest(file) if file.is_file() else MISSING
    before = None if made is None else made["inputs"].get(START_WEIGHTS)
    start = before if now == MISSING and before is not None else now
    return replace(network, starts_from={"the published network": name, START_WEIGHTS: start})


def weights_file(workspace: Workspace, name: str) -> Path | None:
    """The file of its weights that the settings name; None if they are downloaded. Raises UsageError for one that does
    not exist."""
    file = _place_of_weights(workspace, name)
    if file is not None and not file.is_file():
        raise UsageError(
            f"--reference-weights: {shown_path(file)} does not exist. Give a file of the weights of {name}, or a "
            f"folder with {name}{ENDINGS[0]}."
        )
    return file


def _place_of_weights(workspace: Workspace, name: str) -> Path | None:
    if workspace.settings.reference_weights is None:
        return None
    given = usable_path(workspace.settings.reference_weights, "--reference-weights")
    if not given.is_dir():
        return given
    places = [given / f"{name}{ending}" for ending in ENDINGS]
    return next((place for place in places if place.is_file()), places[0])


def reference_workspace(workspace: Workspace, name: str) -> Workspace:
    """The run with images normalized as those that the published network was trained on."""
    source, own = published_source(name), replace(workspace)
    dataset = workspace.dataset
    vars(own).update(vars(workspace))  # what is loaded and opened by now
    if source.kind == "timm":
        import timm

        about = timm.get_pretrained_cfg(source.target, allow_unregistered=True)
        if about is not None:
            vars(own)["dataset"] = replace(dataset, mean=tuple(about.mean), std=tuple(about.std))
    return own


def require_exported(workspace: Workspace) -> None:
    """Raises UsageError unless the references that were chosen are trained and exported, and up to date."""
    for name in reference_names(read_references(workspace.run_dir)):
        own = reference_workspace(workspace, name)
        network = reference_network(own, name)
        problems = (phase.problem(own, network) for phase in (TUNE_REFERENCE, EVALUATE, EXPORT))
        if problem := next(filter(None, problems), None):
            raise UsageError(f"{problem}. Run 'efficientformer design --run-dir {workspace.run_dir.root}' first.")
