"""Which records of a run are out of date, for pages and messages that show them all the same. No torch.

Nothing is opened for it: settings are those that the run remembers, images those that it read last, and the device is
not compared.
"""

from dataclasses import dataclass
from pathlib import Path

from efficientformer.errors import EfficientFormerError
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.inputs import recorded_image_digests
from efficientformer.pipeline.run.open_run import RunRequest
from efficientformer.pipeline.run.outputs import run_network
from efficientformer.pipeline.run.phase import Kind, Phase
from efficientformer.pipeline.run.plan import PHASES
from efficientformer.pipeline.run.run_network import RunNetwork, read_found
from efficientformer.pipeline.run.stamps import read_stamp
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir

CLOSED: frozenset[Kind] = frozenset({"run", "source"})


@dataclass(frozen=True)
class OutOfDate:
    """A record that does not fit the rest of its run, why, and the verb that makes it again."""

    text: str
    verb: str


def out_of_date(run_dir: Path | str, only: str | None = None) -> list[OutOfDate]:
    """The records of a run that exist and are out of date, in the order of the phases; of one network with `only`."""
    try:
        workspace = Workspace(RunDir(Path(run_dir)), RunRequest(run_dir=Path(run_dir)).resolved(), RunConsole())
        networks = _networks(workspace)
        return _out_of_date(workspace, [network for network in networks if only in (None, network.name)], only)
    except EfficientFormerError as error:
        reason = str(error).rstrip(".")
        return [OutOfDate(f"Whether the records are up to date is unknown: {reason}", "design")]


def out_of_date_file(path: Path) -> list[OutOfDate]:
    """The same for the file of a network in the folder of a run; nothing for any other file."""
    path = Path(path).absolute()
    if len(path.parents) < 3 or path.parents[1].name != "networks":
        return []
    run_dir = RunDir.of_network_file(path)
    return out_of_date(run_dir.root, only=path.parent.name) if run_dir.settings.exists() else []


def _networks(workspace: Workspace) -> list[RunNetwork]:
    if not workspace.run_dir.trace.exists():
        return []
    return [run_network(workspace, found) for found in read_found(workspace.run_dir)]


def _out_of_date(workspace: Workspace, networks: list[RunNetwork], only: str | None) -> list[OutOfDate]:
    rows: list[OutOfDate] = []
    stale: list[tuple[str, RunNetwork | None]] = []
    for phase in PHASES:
        before = {earlier.name for earlier in phase.after}
        for network in networks if phase.each_network else [None]:
            outputs = phase.outputs(workspace, network)
            if not any(path.exists() for path in outputs):
                continue
            causes = [
                name for name, whose in stale if name in before and (None in (network, whose) or network == whose)
            ]
            problem = _problem(workspace, phase, network)
            if problem is None and causes:
                problem = f"{outputs[0]} is out of date (it follows from '{causes[0]}')"
            if problem is not None:
                stale.append((phase.name, network))
                if only is None or network is not None:
                    rows.append(OutOfDate(problem, phase.name))
    return rows


def _problem(workspace: Workspace, phase: Phase, network: RunNetwork | None) -> str | None:
    made = read_stamp(workspace.run_dir.stamp(phase.title(network)))
    images = recorded_image_digests(workspace.run_dir)
    if problem := phase.problem(workspace, network, CLOSED):
        return problem
    changed = [name for name, value in images.items() if made and made["inputs"].get(name, value) != value]
    return f"{phase.outputs(workspace, network)[0]} is out of date ({changed[0]} changed)" if changed else None
