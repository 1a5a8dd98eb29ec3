"""A network of a run and its folder: one that slimming found for a budget, or a published one to fine-tune."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.formats.reference import ChosenReference, ReferencesRecord
from efficientformer.formats.slimming import Trace
from efficientformer.pipeline.run.budget import Budget
from efficientformer.reading import read_record
from efficientformer.run_dir import NetworkFiles, RunDir


@dataclass(frozen=True)
class RunNetwork:
    """A network that a run trains, scores and exports.

    name: of its folder.
    title: its name in messages.
    architecture: None for a network of timm.
    about: further metadata of the exported file.
    origins: for every block the supernet block that it comes from, stage by stage; empty for a pretrained network.
    starts_from: digests, by name, of the inputs of its training.
    version: the name of the weights of the supernet that it starts from; None: as the supernet was trained, or none.
    """

    name: str
    title: str
    architecture: Architecture | None
    files: NetworkFiles
    about: Mapping[str, str]
    origins: tuple[tuple[int, ...], ...] = ()
    starts_from: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True)
class FoundNetwork:
    """A network that slimming found for one budget.

    version: the name of the weights of the supernet that scored it; None: as the supernet was trained.
    """

    budget: Budget
    budget_ms: float
    predicted_ms: float
    architecture: Architecture
    origins: tuple[tuple[int, ...], ...]
    files: NetworkFiles
    version: str | None = None


def read_found(run_dir: RunDir) -> list[FoundNetwork]:
    """Networks of the slimming trace, in the order of the budgets. Raises RecordError if there is no trace."""
    return [
        FoundNetwork(
            budget=Budget(**entry["budget_value"]),
            budget_ms=entry["budget_ms"],
            predicted_ms=entry["predicted_ms"],
            architecture=Architecture.from_json(entry["architecture"]),
            origins=tuple(map(tuple, entry["origins"])),
            files=run_dir.network(entry["slug"]),
            version=entry.get("weights"),
        )
        for entry in read_record(run_dir.trace, Trace)["budgets"]
    ]


def read_references(run_dir: RunDir) -> list[ChosenReference]:
    """The published network that each budget's network is compared with; nothing in a run without references."""
    return read_record(run_dir.references, ReferencesRecord)["rows"] if run_dir.references.exists() else []


def reference_names(rows: list[ChosenReference]) -> list[str]:
    """The networks, each once, in the order of the budgets."""
    return list(dict.fromkeys(row["name"] for row in rows if row["name"] is not None))


def name_of_init(init: str) -> str:
    """Name of a network to fine-tune: its published name, or the name of the folder of its weights."""
    if init in ZOO:
        return init
    path = Path(init)
    return path.parent.name if path.stem == "weights" and path.parent.name else path.stem


def unknown_init(init: str) -> UsageError:
    """The error for an --init that is nothing to start from. Names of timm end with a dot and what they were trained
    on."""
    near = difflib.get_close_matches(init.partition(".")[0], ZOO, n=1)
    return UsageError(
        f"--init {init} is neither a file of weights{' that exists' if Path(init).suffix else ''} nor a published "
        f"network. {f'The nearest name is {near[0]}; all' if near else 'Those'} are {', '.join(ZOO)}."
    )
