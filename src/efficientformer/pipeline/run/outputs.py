"""Outputs of earlier phases, checked before use: the latency table, and the networks that slimming found."""

from collections.abc import Iterator

from efficientformer.arch.spec import Architecture
from efficientformer.errors import UsageError
from efficientformer.formats.network import ArchitectureFile
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.inputs import START_WEIGHTS, supernet_digests, version_digests
from efficientformer.pipeline.run.phase import ANYWHERE
from efficientformer.pipeline.run.plan import FINE_TUNE, SLIM, TABLE, TRAIN
from efficientformer.pipeline.run.run_network import FoundNetwork, RunNetwork, read_found
from efficientformer.pipeline.run.stamps import read_stamp
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import read_record
from efficientformer.records import digest
from efficientformer.run_dir import NetworkFiles, is_name


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


def trained_networks(workspace: Workspace) -> Iterator[RunNetwork]:
    """The trained networks of the run: those that slimming found or, where nothing was slimmed, of `train --init`.

    Raises UsageError where there are none, and at the first whose training has to be run first or again.
    """
    tuned = _tuned_networks(workspace)
    for network in tuned or run_networks(workspace):
        if not tuned:
            TRAIN.require(workspace, network)
        elif problem := FINE_TUNE.problem(workspace, network):
            raise UsageError(f"{problem}. Run the command of its training again: efficientformer train --init ...")
        yield network


def network_files(workspace: Workspace) -> list[NetworkFiles]:
    """The files of the same networks, trained or not. Raises UsageError where there are none."""
    return [network.files for network in _tuned_networks(workspace) or found_networks(workspace)]


def _tuned_networks(workspace: Workspace) -> list[RunNetwork]:
    """The networks of `train --init` in a run without slimming, by name, whether or not their training ended."""
    run_dir = workspace.run_dir
    if run_dir.trace.exists():
        return []
    names = sorted(folder.name for folder in run_dir.networks.glob("*") if folder.is_dir() and is_name(folder.name))
    networks = []
    for name in names:
        files, stamp = run_dir.network(name), read_stamp(run_dir.stamp(f"{FINE_TUNE.name} {name}"))
        if stamp is None and not files.checkpoint.exists():
            continue
        built = read_record(files.architecture, ArchitectureFile) if files.architecture.exists() else None
        architecture = None if built is None else Architecture.from_json(built["architecture"])
        start = {key: value for key, value in (stamp or {"inputs": {}})["inputs"].items() if key == START_WEIGHTS}
        networks.append(RunNetwork(name, name, architecture, files, {"init": name}, starts_from=start))
    return networks


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
