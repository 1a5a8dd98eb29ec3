"""Outputs of earlier phases, checked before use: the latency table, and the networks that slimming found."""

from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.inputs import supernet_digests, version_digests
from efficientformer.pipeline.run.phase import ANYWHERE
from efficientformer.pipeline.run.plan import SLIM, TABLE
from efficientformer.pipeline.run.run_network import FoundNetwork, RunNetwork, read_found
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.records import digest


def load_table(workspace: Workspace) -> LatencyTable:
    """The run's latency table.

    Raises UsageError if it is missing or out of date, LatencyError for a table of another device or with a larger error
    than the settings allow.
    """
    (path,) = TABLE.require(workspace, kinds=ANYWHERE)
    table = LatencyTable.load(path)
    if not workspace.settings.table.allow_foreign:
        table.check_device(workspace.runtime.machine(), workspace.runtime.describe())
    TABLE.require(workspace)
    table.check_error(workspace.settings.table.max_error)
    return table


def known_table(workspace: Workspace) -> LatencyTable | None:
    """The run's table, of whatever device; None if there is none of these settings. Networks are trained on other
    machines than they are measured on."""
    if TABLE.problem(workspace, kinds=ANYWHERE):
        return None
    return LatencyTable.load(workspace.run_dir.table)


def found_networks(workspace: Workspace) -> list[FoundNetwork]:
    """The networks that slimming found, in the order of the budgets. Raises UsageError before slimming."""
    SLIM.require(workspace)
    return read_found(workspace.run_dir)


def run_networks(workspace: Workspace) -> list[RunNetwork]:
    """The same networks with the digests of what their training starts from."""
    return [run_network(workspace, found) for found in found_networks(workspace)]


def run_network(workspace: Workspace, found: FoundNetwork) -> RunNetwork:
    """A network that slimming found, with the digests of what its training starts from."""
    starts_from = {"the architecture": digest(found.architecture.to_json())}
    if workspace.settings.train.init == "supernet":
        starts_from |= supernet_digests(workspace)
        starts_from |= {} if found.version is None else version_digests(workspace, found.version)
        starts_from |= {"the blocks of the supernet": digest([list(stage) for stage in found.origins])}
    return RunNetwork(
        name=found.budget.slug,
        title=found.budget.text,
        architecture=found.architecture,
        files=found.files,
        about={"budget": found.budget.text},
        origins=found.origins,
        starts_from=starts_from,
        version=found.version if workspace.settings.train.init == "supernet" else None,
    )
