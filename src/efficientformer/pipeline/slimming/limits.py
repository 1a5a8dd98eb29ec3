"""What a network may take beside its latency: parameters, multiply-accumulates, size of its file, memory.

Parameters and multiply-accumulates follow from the architecture. Of file and memory the architecture tells how much the
weights take, and no network takes less; both are measured on the networks that a descent ends at, and where one takes
more than its limit, slimming goes on to weights that are smaller by as much.
"""

import sys
from pathlib import Path

from efficientformer.arch.cost import network_cost, weights_mib
from efficientformer.arch.parts import network_parts
from efficientformer.arch.spec import Architecture
from efficientformer.errors import BudgetError, UsageError
from efficientformer.exporting.formats.format import written_file
from efficientformer.exporting.formats.onnx import ONNX
from efficientformer.latency.devices import LOCAL, DeviceOptions, open_device
from efficientformer.latency.tables.preparation import untrained_network
from efficientformer.latency.worker.packages import PACKAGES
from efficientformer.latency.worker.runtime import WorkerRuntime
from efficientformer.pipeline.run.workspace import Workspace

UNITS = {
    "params_m": "million parameters",
    "macs_m": "million multiply-accumulates",
    "file_mib": "MiB of file",
    "memory_mib": "MiB of memory",
}
MEASURED = frozenset({"file_mib", "memory_mib"})


class Limits:
    """The limits of a run: `most` by name, without those that it does not have."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        given = workspace.settings.limits.model_dump()
        self.most: dict[str, float] = {name: value for name, value in given.items() if value is not None}

    def predicted(self, architecture: Architecture) -> dict[str, float]:
        """By name, what the architecture takes at least."""
        if not self.most:
            return {}
        resolution, num_classes = self._workspace.settings.resolution, len(self._workspace.dataset.classes)
        cost = network_cost(architecture, resolution, num_classes)
        mib = weights_mib(network_parts(architecture, resolution, num_classes))
        known = {"params_m": cost.num_params / 1e6, "macs_m": cost.macs / 1e6, "file_mib": mib, "memory_mib": mib}
        return {name: known[name] for name in self.most}

    def measured(self, architecture: Architecture, file: Path | None = None) -> dict[str, float]:
        """By name, what the exported `file` of the architecture takes; an untrained one is exported without it."""
        found = self.predicted(architecture)
        if MEASURED.isdisjoint(found):
            return found
        settings = self._workspace.settings
        shape = self._workspace.input_shape
        if file is None:
            network = untrained_network(architecture, settings.resolution, len(self._workspace.dataset.classes))
            with written_file(ONNX, network, shape) as temporary:
                return self.measured(architecture, temporary)
        if "file_mib" in found:
            found["file_mib"] = file.stat().st_size / 2**20
        if "memory_mib" in found:
            worker = self._new_worker()
            found["memory_mib"] = worker.open(file, shape).memory_mib or found["memory_mib"]
            worker.close()
        return found

    def check_reachable(self, smallest: Architecture) -> None:
        """Raise BudgetError when even the smallest network of the space takes more."""
        least = self.predicted(smallest)
        for name, most in self.most.items():
            if least[name] > most:
                raise BudgetError(
                    f"--limits.{name.replace('_', '-')} {most:g} cannot be met: the smallest network of the "
                    f"'{self._workspace.space.name}' space has {least[name]:.3g} {UNITS[name]}. Ask for more."
                )

    def _new_worker(self) -> WorkerRuntime:
        """A process that has done nothing else: what an earlier network has freed, the next would not claim again."""
        settings = self._workspace.settings
        device = f"python:{sys.executable}" if settings.device == LOCAL else settings.device
        if settings.runtime in PACKAGES:
            options = DeviceOptions(device=device, litert_python=settings.litert_python)
            worker = open_device(options, settings.runtime, settings.threads)
            if isinstance(worker, WorkerRuntime):
                return worker
        raise UsageError(
            f"--limits.memory-mib cannot be measured with runtime '{settings.runtime}' on --device {settings.device}. "
            f"Leave it out, or choose one of {', '.join(PACKAGES)} on this machine or by ssh."
        )
