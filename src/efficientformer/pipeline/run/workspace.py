"""What the phases of one run share: its directory, its settings, its images, its device."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from efficientformer.arch.space import SPACES, SearchSpace
from efficientformer.arch.spec import Architecture
from efficientformer.errors import RecordError, UsageError
from efficientformer.latency.devices import DeviceOptions, open_device
from efficientformer.pipeline.run.budget import Budget, parse_budgets
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.stamps import Stamp, is_up_to_date, read_stamp, run_phase
from efficientformer.provenance import FINGERPRINT
from efficientformer.records import digest, file_digest, read_record
from efficientformer.run_dir import NetworkFiles, RunDir

if TYPE_CHECKING:
    import torch

    from efficientformer.data.dataset import ImageDataset, ImageSplit
    from efficientformer.data.transforms import Preprocessing
    from efficientformer.latency.runtime import Runtime
    from efficientformer.latency.tables.table import LatencyTable
    from efficientformer.training.world import World


@dataclass(frozen=True)
class FoundNetwork:
    """A network that slimming found for one budget."""

    budget: Budget
    budget_ms: float
    predicted_ms: float
    architecture: Architecture
    origins: tuple[tuple[int, ...], ...]
    files: NetworkFiles


@dataclass(frozen=True)
class Workspace:
    """One run: everything is read from its directory or follows from its settings."""

    run_dir: RunDir
    settings: Settings
    console: RunConsole

    def run_phase(self, stamp: Stamp, outputs: list[Path], work: Callable[[str], None]) -> bool:
        if self.world.size > 1:
            raise UsageError(
                f"torchrun started {self.world.size} processes, which can share the verbs supernet and train. Run "
                f"'efficientformer {stamp.phase.partition(' ')[0]}' without it."
            )
        return run_phase(self.run_dir, stamp, outputs, work, self.console.phase)

    def run_shared_phase(self, stamp: Stamp, outputs: list[Path], work: Callable[[str], None]) -> bool:
        """A phase whose work several processes share, as `torchrun` starts them; the first one keeps the records."""
        if self.world.broadcast_first(self.world.is_first and is_up_to_date(self.run_dir, stamp, outputs)):
            self.console.phase(stamp.phase, "up to date")
            return False
        if self.world.is_first:
            return run_phase(self.run_dir, stamp, outputs, work, self.console.phase)
        work(stamp.fingerprint)
        return True

    def chosen(self, *names: str) -> dict[str, object]:
        """The named settings, dotted, as a phase's stamp wants them; a group stands for all of its settings."""
        values: dict[str, object] = {}
        for name in names:
            value = attrgetter(name)(self.settings)
            if hasattr(value, "model_dump"):
                values |= {f"{name}.{key}": item for key, item in value.model_dump(mode="json").items()}
            else:
                values[name] = list(value) if isinstance(value, tuple) else value
        return values

    def require(self, path: Path, verb: str, slug: str | None = None) -> Path:
        """`path`, which an earlier phase makes (of the budget `slug`, where it makes one for each).

        Raises UsageError when it is missing, half made, or made with other settings than this run now has.
        """
        stamp = read_stamp(self.run_dir.stamp(verb if slug is None else f"{verb} {slug}"))
        now = self.chosen(*type(self.settings).model_fields) | {"clock": self.settings.latency_clock}
        if not path.exists() or stamp is None:
            problem = "missing or not finished"
        elif changed := [name for name, old in stamp["settings"].items() if name in now and now[name] != old]:
            problem = f"out of date ({', '.join(changed)} changed)"
        else:
            return path
        raise UsageError(
            f"{path} is {problem}. Run 'efficientformer {verb} --run-dir {self.run_dir.root}' first, "
            "or 'efficientformer design' for the whole way."
        )

    @cached_property
    def budgets(self) -> list[Budget]:
        return parse_budgets(self.settings.budget)

    @property
    def space(self) -> SearchSpace:
        return SPACES[self.settings.space]

    @cached_property
    def dataset(self) -> "ImageDataset":
        from efficientformer.pipeline.run.images import load_dataset

        return load_dataset(self.run_dir, self.settings, self.console)

    @cached_property
    def training_images(self) -> "ImageSplit":
        from efficientformer.pipeline.run.images import load_training_images

        return load_training_images(self.dataset, self.settings, self.console)

    @cached_property
    def world(self) -> "World":
        from efficientformer.training.world import join_world

        return join_world()

    @property
    def preprocessing(self) -> "Preprocessing":
        from efficientformer.data.transforms import Preprocessing

        return Preprocessing.for_dataset(self.dataset, self.settings.resolution)

    @cached_property
    def runtime(self) -> "Runtime":
        settings = self.settings
        options = DeviceOptions(settings.device, settings.device_program, settings.device_cores, settings.litert_python)
        return open_device(options, settings.runtime, settings.threads)

    @cached_property
    def training_device(self) -> "torch.device":
        """Where networks are trained and judged; the first use also sets the number of CPU threads."""
        import torch

        cores = max(1, (os.cpu_count() or 1) // self.world.local_size)
        torch.set_num_threads(self.settings.training_threads or cores)

        name = self.settings.training_device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"--training-device {name} cannot be used here: {error}") from error
        return device

    def table(self) -> "LatencyTable":
        """The run's latency table, checked against this device and runtime and against the error allowed."""
        from efficientformer.latency.tables.table import LatencyTable

        table = LatencyTable.load(self.require(self.run_dir.table, "table"))
        if not self.settings.table.allow_foreign:
            table.check_device(self.runtime.machine(), self.runtime.describe())
        table.check_error(self.settings.table.max_error)
        return table

    def found_networks(self) -> list[FoundNetwork]:
        """What slimming found, in the order of the budgets. Raises UsageError before slimming."""
        trace = read_record(self.require(self.run_dir.trace, "slim"))
        try:
            return [
                FoundNetwork(
                    budget=Budget(**entry["budget_value"]),
                    budget_ms=entry["budget_ms"],
                    predicted_ms=entry["predicted_ms"],
                    architecture=Architecture.from_json(entry["architecture"]),
                    origins=tuple(map(tuple, entry["origins"])),
                    files=self.run_dir.network(entry["slug"]),
                )
                for entry in trace["budgets"]
            ]
        except (KeyError, TypeError) as error:
            raise RecordError(f"{self.run_dir.trace} does not fit this version: {error!r}. Run slim again.") from error

    def digests(self, *paths: Path) -> dict[str, str]:
        """Inputs of a stamp: the bytes of each file, by its name in the run directory."""
        return {str(path.relative_to(self.run_dir.root)): file_digest(path) for path in paths}

    def device_digest(self) -> dict[str, str]:
        """Measurements hold for one device, runtime and version."""
        here = self.runtime.machine()
        return {"this device": digest([{name: here[name] for name in FINGERPRINT}, self.runtime.describe()])}

    def data_digest(self) -> dict[str, str]:
        return {"the images": digest([self.dataset.digest, self.dataset.split_rule])}
