"""Whether references can be had, before hours of work: the shortlist, the names, the weights."""

from dataclasses import replace

from efficientformer.analysis.comparison.network_source import require_published
from efficientformer.analysis.shortlist.front import best_that_fits
from efficientformer.errors import EfficientFormerError, UsageError
from efficientformer.formats.reference import ReferencesRecord
from efficientformer.formats.shortlist import ShortlistRecord
from efficientformer.pipeline.networks.published import published_classifier
from efficientformer.pipeline.references.reference import (
    reference_network,
    reference_workspace,
    weights_file,
)
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.inputs import kept_shortlist
from efficientformer.pipeline.run.plan import TUNE_REFERENCE
from efficientformer.pipeline.run.run_network import read_references, reference_names
from efficientformer.pipeline.run.settings import BEST
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.shortlists.best_published import shortlist_command
from efficientformer.reading import read_record


def require_reference(workspace: Workspace) -> None:
    """For --reference NAME the network and its weights, for best the shortlist of this device.

    Raises UsageError where they cannot be had, RecordError for files that cannot be read.
    """
    reference = workspace.settings.reference
    if reference is None:
        return
    if workspace.task.words.is_dense:
        raise UsageError(
            f"--reference is a classifier, and the run is for images with {workspace.task.words.labels}. Leave it out, "
            "or use --reference none."
        )
    workspace.console.say(f"reference {reference}")
    if reference != BEST:
        require_published(reference)
        _require_weights(workspace, reference)
    elif not _are_chosen(workspace):
        require_shortlist(workspace)


def require_best(workspace: Workspace, largest_ms: float) -> None:
    """For --reference best the weights of the networks that will be chosen.

    largest_ms: latency of the largest network of the space. Raises as `require_reference` does.
    """
    if workspace.settings.reference != BEST:
        return
    if _are_chosen(workspace):
        names = reference_names(read_references(workspace.run_dir))
    else:
        rows, percentile = require_shortlist(workspace)["networks"], workspace.settings.percentile
        limits = [budget.latency_ms(largest_ms) for budget in workspace.budgets]
        fitting = [best_that_fits(rows, limit_ms, percentile) for limit_ms in limits]
        names = list(dict.fromkeys(row["name"] for row in fitting if row is not None))
    for name in names:
        _require_weights(workspace, name)


def require_shortlist(workspace: Workspace) -> ShortlistRecord:
    """The shortlist of this device at the run's input size. Raises UsageError without one."""
    try:
        kept = kept_shortlist(workspace)
    except EfficientFormerError as error:
        raise UsageError(f"The shortlist that --reference best needs cannot be used: {error}") from error
    if kept is None:
        raise UsageError(
            "--reference best needs a shortlist of published networks on this device at this resolution. Measure one "
            f"in a few minutes: {shortlist_command(workspace.settings)}. Or name a network: --reference NAME."
        )
    return kept


def _are_chosen(workspace: Workspace) -> bool:
    """Whether this run chose its references for all budgets by a shortlist that is gone."""
    run_dir = workspace.run_dir
    if not run_dir.references.exists() or read_record(run_dir.references, ReferencesRecord)["asked"] != BEST:
        return False
    slugs = {budget.slug for budget in workspace.budgets}
    return slugs <= {row["slug"] for row in read_references(run_dir)} and kept_shortlist(workspace) is None


def _require_weights(workspace: Workspace, name: str) -> None:
    """Builds the network once, unless it is trained by now: then its weights are not needed any more."""
    own = reference_workspace(workspace, name)
    if TUNE_REFERENCE.problem(own, reference_network(own, name)) is None:
        return
    quiet = replace(own, console=RunConsole(quiet=True))
    vars(quiet).update({name: value for name, value in vars(own).items() if name != "console"})
    published_classifier(quiet, name, weights_file(workspace, name))
