"""A phase as a value: the settings that it depends on, its inputs, its outputs.

Everything else follows from these: the stamp of a finished phase, whether it is up to date, the requirements of later
phases, the settings in its verb's `--help`, and the README's table. The work is in `pipeline/phases/`, so that the list
of phases (`plan.py`) is read without torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from efficientformer.errors import UsageError
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.settings import leaves
from efficientformer.pipeline.run.stamps import (
    Stamp,
    chosen,
    is_up_to_date,
    read_stamp,
    replaced_output,
    run_stamped,
    stamp_changes,
)
from efficientformer.pipeline.run.workspace import Workspace

Digests = dict[str, str]
Kind = Literal["run", "images", "device", "source"]
"""What an input is part of: the run directory, its images, the measured device, the run whose supernet is taken."""
EVERYTHING: frozenset[Kind] = frozenset({"run", "images", "device", "source"})
ANYWHERE = EVERYTHING - {"device"}
"""What can be compared without the device: networks are trained on other machines than they are measured on."""


@dataclass(frozen=True)
class Input:
    """An input of a phase: files of the run, its images, or the measured device.

    digest: digests, or short values, by name, of a run and, in a phase of each network, of a network.
    settings: those that determine the input, by dotted name.
    kind: what it is part of.
    """

    digest: Callable[[Workspace, RunNetwork | None], Digests]
    settings: tuple[str, ...] = ()
    kind: Kind = "run"


@dataclass(frozen=True)
class Phase:
    """One phase of the pipeline.

    name: also that of its verb.
    does: one sentence on its work.
    settings: those that its records depend on, by dotted name; the name of a group means all of its settings.
    reads: inputs that its records depend on.
    writes: names of its files in `RunDir`, or in `NetworkFiles` where `each_network`.
    writes_too: the same of further files, which not every run has.
    after: the phases whose outputs it reads. Where they are out of date, so is it.
    idle: those of `settings` without effect in a run; changing one changes nothing.
    derived: values that are computed from the run and count as settings.
    uses: settings that change the execution of the work, but not its records.
    each_network: whether it is done once for each network of the run.
    is_shared: whether the processes that torchrun starts share the work.
    """

    name: str
    does: str
    settings: tuple[str, ...]
    reads: tuple[Input, ...]
    writes: tuple[str, ...]
    after: tuple["Phase", ...] = ()
    idle: Callable[[Workspace], frozenset[str]] = lambda _: frozenset()
    derived: Callable[[Workspace], Mapping[str, Any]] = lambda _: {}
    uses: tuple[str, ...] = ()
    writes_too: Callable[[Workspace], tuple[str, ...]] = lambda _: ()
    each_network: bool = False
    is_shared: bool = False

    @property
    def shown_settings(self) -> set[str]:
        """Every setting that the phase reads, by dotted name. Its verb shows these in `--help`."""
        names = [*self.settings, *self.uses, *(name for source in self.reads for name in source.settings)]
        return {leaf for name in names for leaf in leaves(name)}

    def outputs(self, workspace: Workspace, network: RunNetwork | None = None) -> list[Path]:
        files = workspace.run_dir if network is None else network.files
        return [getattr(files, name) for name in (*self.writes, *self.writes_too(workspace))]

    def stamp(
        self, workspace: Workspace, network: RunNetwork | None = None, kinds: frozenset[Kind] = EVERYTHING
    ) -> Stamp:
        """The present settings of the phase, and its inputs of these kinds."""
        inputs: Digests = {}
        for source in self.reads:
            if source.kind in kinds:
                inputs |= source.digest(workspace, network)
        return Stamp(self.title(network), self._settings(workspace), inputs)

    def run(self, workspace: Workspace, work: Callable[[str], None], network: RunNetwork | None = None) -> bool:
        """Do `work(fingerprint)` unless its outputs are up to date; returns whether work was done.

        If several processes share the phase, the first one writes the records.
        """
        world, announce = workspace.world, workspace.console.phase
        if world.size > 1 and not self.is_shared:
            raise UsageError(
                f"torchrun started {world.size} processes, which can share the verbs supernet, slim, baselines, rank "
                f"and train. Run 'efficientformer {self.name}' without it."
            )
        stamp, outputs = self.stamp(workspace, network), self.outputs(workspace, network)
        if world.size == 1:
            return run_stamped(workspace.run_dir, stamp, outputs, work, announce)
        first, *others = world.gather(stamp.to_json())
        for rank, other in enumerate(others, start=1):
            if changes := stamp_changes(first, other):
                raise UsageError(
                    f"Process {rank} does not train the same as process 0: {', '.join(changes)}. Start every process "
                    "with the same program, settings, images and run directory."
                )
        if world.of_first(world.is_first and is_up_to_date(workspace.run_dir, stamp, outputs)):
            announce(stamp.phase, "up to date")
            return False
        if world.is_first:
            return run_stamped(workspace.run_dir, stamp, outputs, work, announce)
        work(stamp.fingerprint)
        return True

    def require(
        self, workspace: Workspace, network: RunNetwork | None = None, kinds: frozenset[Kind] = EVERYTHING
    ) -> list[Path]:
        """The outputs of an earlier run of the phase.

        Raises UsageError if they are missing, unfinished or replaced, if settings or inputs of these kinds have changed
        since, or if this holds for a phase before it, whose device is not compared.
        """
        for earlier in self.after:
            earlier.require(workspace, network if earlier.each_network else None, kinds & ANYWHERE)
        if problem := self.problem(workspace, network, kinds):
            raise UsageError(
                f"{problem}. Run 'efficientformer {self.name} --run-dir {workspace.run_dir.root}' first, "
                "or 'efficientformer design' for all phases."
            )
        return self.outputs(workspace, network)

    def problem(
        self, workspace: Workspace, network: RunNetwork | None = None, kinds: frozenset[Kind] = EVERYTHING
    ) -> str | None:
        """Why the outputs of the phase cannot be used, whatever the phases before it; None if they can."""
        outputs, run_dir = self.outputs(workspace, network), workspace.run_dir
        made = read_stamp(run_dir.stamp(self.title(network)))
        missing = [path for path in outputs if not path.exists()]
        if missing or made is None:
            return f"{(missing or outputs)[0]} is missing or not finished"
        if replaced := replaced_output(run_dir, made, outputs):
            return f"{replaced}. Restore it, or delete it to have it made again"
        if changes := stamp_changes(made, self.stamp(workspace, network, kinds).to_json()):
            return f"{outputs[0]} is out of date ({', '.join(changes)})"
        return None

    def _settings(self, workspace: Workspace) -> dict[str, Any]:
        idle, all_values = self.idle(workspace), chosen(workspace.settings, *self.settings)
        values = {name: value for name, value in all_values.items() if name not in idle}
        return {**values, **self.derived(workspace)}

    def forget(self, workspace: Workspace) -> None:
        """Have the next run of the phase do its work again."""
        workspace.run_dir.stamp(self.name).unlink(missing_ok=True)

    def title(self, network: RunNetwork | None) -> str:
        """The name of its stamp, and of the phase in messages."""
        return self.name if network is None else f"{self.name} {network.name}"
