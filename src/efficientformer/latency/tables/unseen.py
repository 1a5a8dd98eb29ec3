"""Networks that a table was not made from, measured and compared with its predictions.

Many large networks do not fit into memory at once. So they are timed in chunks, each with networks of all sizes and
with the table's anchors, which show how much faster or slower the machine is than at the time of the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from efficientformer.arch.cost import network_cost, weights_mib
from efficientformer.arch.parts import network_parts
from efficientformer.arch.spec import Architecture
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.tables.anchors import choose_anchors, drift
from efficientformer.latency.tables.build import ROUNDS
from efficientformer.latency.tables.error import MeasuredNetwork
from efficientformer.latency.tables.network_sample import spread_networks
from efficientformer.latency.tables.preparation import preparations
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.latency.timing.calm import CALM
from efficientformer.latency.timing.session import Medians, TimedSession
from efficientformer.latency.timing.timer import Progress

CHUNK_MIB = 1500.0
MOST_VISITS = 3


@dataclass(frozen=True)
class UnseenNetwork:
    """A network measured, with its 95 % interval, and predicted, with the 95 % interval of the prediction.

    `drift` is the latency of the table's own networks in the same rounds, divided by that in the table.
    """

    architecture: Architecture
    measured_ms: float
    interval_ms: tuple[float, float]
    predicted_ms: float
    predicted_interval_ms: tuple[float, float]
    chunk: int
    drift: float

    @property
    def error_percent(self) -> float:
        return 100.0 * (self.predicted_ms / self.measured_ms - 1.0)

    @property
    def is_covered(self) -> bool:
        low, high = self.predicted_interval_ms
        return low <= self.measured_ms <= high

    @property
    def at_table_speed(self) -> "UnseenNetwork":
        """The network with its measurement corrected to the machine's speed at the time of the table."""
        low, high = self.interval_ms
        interval_ms = (low / self.drift, high / self.drift)
        return replace(self, measured_ms=self.measured_ms / self.drift, interval_ms=interval_ms, drift=1.0)


def draw_unseen(table: LatencyTable, count: int, seed: int) -> list[Architecture]:
    """Random networks of the table's space, spread over its sizes, without those that the table was made from."""
    own = {network.architecture for network in table.networks}
    drawn = spread_networks(table.space, table.resolution, table.num_classes, count=count + len(own), seed=seed)
    fresh = [architecture for architecture in drawn if architecture not in own]
    keep = np.linspace(0, len(fresh) - 1, min(count, len(fresh))).round().astype(int)
    return [fresh[index] for index in keep]


def measure_unseen(
    table: LatencyTable,
    architectures: Sequence[Architecture],
    runtime: Runtime,
    *,
    rounds: int = ROUNDS,
    most_visits: int = MOST_VISITS,
    chunk_mib: float = CHUNK_MIB,
    seed: int = 0,
    partial_folder: Path | None = None,
    progress: Progress | None = None,
) -> list[UnseenNetwork]:
    """Time the architectures and compare them with the table's predictions.

    A chunk holds networks of at most about `chunk_mib` MiB of weights together. A chunk whose anchors are slower than
    in the table is timed again after the others, for `rounds` more, at most `most_visits` times in all: a neighbor that
    slows this machine for minutes affects only some visits, which `timing.calm` leaves out. Rounds are kept in
    `partial_folder`, one file per chunk; a later call continues from there. Raises LatencyError as the table's
    `predict` does.
    """
    anchors = choose_anchors(table)
    chunks = split_chunks(table, architectures, chunk_mib)
    timed = [[*(anchor.architecture for anchor in anchors), *chunk] for chunk in chunks]
    sessions = [
        _session(table, networks, runtime, seed + number, partial_folder and partial_folder / f"chunk-{number}.jsonl")
        for number, networks in enumerate(timed)
    ]
    waiting = list(range(len(chunks)))
    for visit in range(most_visits):
        for turn, number in enumerate(waiting):
            sessions[number].take(
                (visit + 1) * rounds,
                largest=_largest(table, timed[number]),
                progress=None if progress is None else _within(progress, turn, len(waiting), visit),
            )
        waiting = [number for number in waiting if _drift(anchors, sessions[number].medians()) > CALM]
    unseen: dict[Architecture, UnseenNetwork] = {}
    for number, chunk in enumerate(chunks):
        medians = sessions[number].medians()
        for index, architecture in enumerate(chunk, start=len(anchors)):
            predicted_ms = table.predict(architecture)
            low, high = medians.intervals_ms[index]
            unseen[architecture] = UnseenNetwork(
                architecture=architecture,
                measured_ms=float(medians.latencies_ms[index]),
                interval_ms=(float(low), float(high)),
                predicted_ms=predicted_ms,
                predicted_interval_ms=table.spread.interval_ms(predicted_ms),
                chunk=number,
                drift=_drift(anchors, medians),
            )
    return [unseen[architecture] for architecture in architectures]


def split_chunks(
    table: LatencyTable, architectures: Sequence[Architecture], chunk_mib: float
) -> list[list[Architecture]]:
    """As few groups as possible, of about equal size; each takes every n-th network by size."""

    def mib(architecture: Architecture) -> float:
        return weights_mib(network_parts(architecture, table.resolution, table.num_classes))

    ordered = sorted(architectures, key=mib)
    count = min(len(ordered), max(1, math.ceil(sum(map(mib, ordered)) / chunk_mib)))
    return [ordered[start::count] for start in range(count)]


def _session(
    table: LatencyTable, architectures: Sequence[Architecture], runtime: Runtime, seed: int, partial_path: Path | None
) -> TimedSession:
    return TimedSession(
        preparations(_named(architectures), table.resolution, table.num_classes, runtime),
        clock=table.clock,
        threads=table.threads,
        about=[runtime.describe(), runtime.machine(), table.resolution, table.num_classes, table.clock],
        partial_path=partial_path,
        seed=seed,
    )


def _named(architectures: Sequence[Architecture]) -> dict[str, Architecture]:
    return {f"{index}: {architecture}": architecture for index, architecture in enumerate(architectures)}


def _largest(table: LatencyTable, architectures: Sequence[Architecture]) -> str:
    """The name of the network with most MACs."""
    named = _named(architectures)
    return max(named, key=lambda name: network_cost(named[name], table.resolution, table.num_classes).macs)


def _drift(anchors: Sequence[MeasuredNetwork], medians: Medians) -> float:
    return drift(anchors, medians.latencies_ms[: len(anchors)])


def _within(progress: Progress, turn: int, total: int, visit: int) -> Progress:
    again = "again, since the machine was slower: " if visit else ""

    def in_all(done: int, rounds: int, text: str) -> None:
        progress(turn * rounds + done, total * rounds, f"{again}chunk {turn + 1} of {total}, {text}")

    return in_all
