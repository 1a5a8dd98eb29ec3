"""What `benchmark` and `shortlist` do alike: export networks one by one, then measure all of them interleaved."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from efficientformer.analysis.comparison.compare import Comparison, compare
from efficientformer.analysis.comparison.compared_network import ComparedNetwork, prepare_network
from efficientformer.analysis.comparison.network_source import NetworkSource
from efficientformer.arch.resolution import Resolution
from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import LOCAL
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.measure_networks import MIN_ROUNDS
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.records import digest, file_digest

COPIES = 3
"""Memory that a runtime needs for a network, in sizes of its file: 2.2 measured, for weights read and repacked."""
GIB = 2**30
MEMORY_SHARE = 0.8


@dataclass
class PreparedNetworks:
    """Networks that are ready, and those that cannot be built, each with the reason."""

    networks: list[ComparedNetwork] = field(default_factory=list)
    failed: list[tuple[NetworkSource, str]] = field(default_factory=list)


def prepare_networks(
    asked: Sequence[tuple[NetworkSource, Resolution | None]], folder: Path, console: RunConsole
) -> PreparedNetworks:
    """Build and export the networks that the folder lacks, each for images of its resolution; None is its default.

    Raises LatencyError when none can be built.
    """
    prepared = PreparedNetworks()
    console.phase("export", f"{len(asked)} networks in deploy form, to {folder}")
    with console.progress("exporting") as progress:
        for index, (source, resolution) in enumerate(asked):
            progress(index, len(asked), source.title)
            try:
                prepared.networks.append(prepare_network(source, resolution, folder))
            except LatencyError as error:
                prepared.failed.append((source, str(error)))
                console.warn(f"{source.title}: {error}")
    if not prepared.networks:
        raise LatencyError("None of the networks can be built. See the warnings above.")
    return prepared


def check_memory(networks: Sequence[ComparedNetwork], runtimes: Sequence[str], device: str) -> None:
    """Raises UsageError if the networks do not fit into memory at once, as interleaved rounds need them."""
    available = _available_memory()
    if available is not None and beyond_memory(networks, runtimes, device):
        raise UsageError(
            f"{len(networks)} networks on {', '.join(runtimes)} may need {_needed(networks, runtimes) / GIB:.1f} GiB "
            f"at once and {available / GIB:.1f} GiB are free. Compare fewer networks, or one runtime at a time."
        )


def beyond_memory(networks: Sequence[ComparedNetwork], runtimes: Sequence[str], device: str) -> list[ComparedNetwork]:
    """The largest networks, without which the others fit into memory at once; none where that is unknown."""
    available = _available_memory()
    if available is None or device != LOCAL:
        return []
    kept = sorted(networks, key=lambda network: network.path.stat().st_size)
    beyond = []
    while kept and _needed(kept, runtimes) > MEMORY_SHARE * available:
        beyond.append(kept.pop())
    return beyond


def _needed(networks: Sequence[ComparedNetwork], runtimes: Sequence[str]) -> int:
    """Bytes of memory that the runtimes may need."""
    return COPIES * len(runtimes) * sum(network.path.stat().st_size for network in networks)


def rounds_path(out: Path, networks: Sequence[ComparedNetwork]) -> Path:
    """File of the finished rounds; other networks, and other files of the same names, have another."""
    about = [[network.source.name, file_digest(network.path)] for network in networks]
    return out / f"rounds-{digest(about)[:12]}.partial.jsonl"


def compare_networks(
    networks: Sequence[ComparedNetwork],
    runtimes: Sequence[Runtime],
    console: RunConsole,
    *,
    clock: Clock,
    rounds: int,
    partial_path: Path,
    least_rounds: int = MIN_ROUNDS,
) -> Comparison:
    """`analysis.comparison.compare`, with progress and a warning for each network that fails."""
    console.phase("measure", f"{len(networks)} networks on {', '.join(runtime.name for runtime in runtimes)}")
    with console.progress("opening") as opening, console.progress("measuring") as measuring:
        comparison = compare(
            networks,
            runtimes,
            clock=clock,
            rounds=rounds,
            least_rounds=least_rounds,
            partial_path=partial_path,
            opening=opening,
            measuring=measuring,
        )
    for (network, runtime), reason in comparison.problems.items():
        console.warn(f"{network} on {runtime}: {reason}")
    return comparison


def _available_memory() -> int | None:
    """Bytes of memory that are available; None on systems without /proc/meminfo."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
