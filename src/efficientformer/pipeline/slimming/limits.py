"""Limits of a network in addition to its latency: parameters, multiply-accumulates, size of its file, memory.

Parameters and multiply-accumulates follow from the architecture. The weights are a lower bound for file size and
memory. Both are measured on the networks that slimming ends at; if one is over its limit, slimming continues towards
proportionally smaller weights.
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
    """The limits of a run that are set: `most` by name."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        given = workspace.settings.limits.model_dump()
        self.most: dict[str, float] = {name: value for name, value in given.items() if value is not None}

    def predicted(self, architecture: Architecture) -> dict[str, float]:
        """Lower bounds of each limited value, by name, from the architecture alone."""
        if not self.most:
            return {}
        resolution, num_classes = self._workspace.settings.resolution, len(self._workspace.dataset.classes)
        cost = network_cost(architecture, resolution, num_classes)
        mib = weights_mib(network_parts(architecture, resolution, num_classes))
        known = {"params_m": cost.num_params / 1e6, "macs_m": cost.macs / 1e6, "file_mib": mib, "memory_mib": mib}
        return {name: known[name] for name in self.most}

    def measured(self, architecture: Architecture, file: Path | None = None) -> dict[str, float]:
        """Each limited value by name, measured on the exported `file`; without it, an untrained network is exported."""
        values = self.predicted(architecture)
        if MEASURED.isdisjoint(values):
            return values
        settings = self._workspace.settings
        shape = self._workspace.input_shape
        if file is None:
            network = untrained_network(architecture, settings.resolution, len(self._workspace.dataset.classes))
            with written_file(ONNX, network, shape) as temporary:
                return self.measured(architecture, temporary)
        if "file_mib" in values:
            values["file_mib"] = file.stat().st_size / 2**20
        if "memory_mib" in values:
            worker = self._new_worker()
            values["memory_mib"] = worker.open(file, shape).memory_mib or values["memory_mib"]
            worker.close()
        return values

    def check_reachable(self, smallest: Architecture) -> None:
        """Raises BudgetError if the smallest network of the space is over a limit."""
        least = self.predicted(smallest)
        for name, most in self.most.items():
            if least[name] > most:
                raise BudgetError(
                    f"--limits.{name.replace('_', '-')} {most:g} cannot be met: the smallest network of the "
                    f"'{self._workspace.space.name}' space has {least[name]:.3g} {UNITS[name]}. Raise the limit."
                )

    def _new_worker(self) -> WorkerRuntime:
        """A new process: memory that an earlier network has freed would be reused and not counted."""
        settings, named = self._workspace.settings, self._workspace.device_options
        device = f"python:{sys.executable}" if named.device == LOCAL else named.device
        if settings.runtime in PACKAGES:
            options = DeviceOptions(device=device, litert_python=named.litert_python)
            worker = open_device(options, settings.runtime, settings.threads)
            if isinstance(worker, WorkerRuntime):
                return worker
        raise UsageError(
            f"--limits.memory-mib cannot be measured with runtime '{settings.runtime}' on --device {settings.device}. "
            f"Leave it out, or choose one of {', '.join(PACKAGES)} on this machine or by ssh."
        )
