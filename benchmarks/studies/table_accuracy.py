"""How well a latency table predicts networks that it has not seen, against MACs, quiet or under load.

    python benchmarks/studies/table_accuracy.py --runtime onnxruntime --work runs/quiet
    python benchmarks/studies/table_accuracy.py --runtime onnxruntime --load 2 --work runs/loaded \\
        --quiet benchmarks/records/table_accuracy/onnxruntime-zen4-20261122.json

Builds the table and times that, draws networks of the space that the table was not made from, spread evenly over their
sizes, measures them in chunks that fit into memory, and compares. The baseline is an affine function of MACs, fitted to
the networks that calibrate the table. `--load N` runs N busy processes per usable core (see `taskset`) while anything
is timed; they pause while networks are built and exported. Interrupted, the same command resumes from `--work`.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compact import compacted
from efficientformer.arch.cost import network_cost
from efficientformer.arch.spaces import SPACES
from efficientformer.latency.clock import Clock
from efficientformer.latency.devices import DeviceOptions, open_device
from efficientformer.latency.prepared import Calls, Prepared
from efficientformer.latency.runtimes import Runtime
from efficientformer.latency.tables.build import ROUNDS, build_table
from efficientformer.latency.tables.interpolation import knot_errors
from efficientformer.latency.tables.staircases import find_steps
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.latency.tables.unseen import MOST_VISITS, UnseenNetwork, draw_unseen, measure_unseen
from efficientformer.pipeline.tables.check import unseen_record
from efficientformer.provenance import differences, machine, provenance
from efficientformer.reading import read_record
from efficientformer.records import write_record
from naming import keep

# A loop ends with the program that started it, however that program ends.
LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1000000): pass"
BUSY = [sys.executable, "-c", LOOP]
SEED = 20261122
FINE = {"mean_percent": 3.0, "within_5_percent": 95.0, "max_percent": 10.0, "kendall_tau": 0.95}
COARSE = {"mean_percent": 7.0, "kendall_tau": 0.9}
BUILD_S = 600.0
SPAN = 4.0
COVERED = (90.0, 98.0)
SHARE_OF_MACS = 0.5
LOADED_RATIO = 1.5
SETTING = ("space", "resolution", "num_classes", "rounds", "network_rounds", "most_visits", "load")
NETWORK_ROUNDS = 16
"""Two windows of rounds (see `latency.calm`): the median of 16 samples errs far less than a table does."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--device", default="local")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), help="cpu with one thread, else wall")
    parser.add_argument("--space", choices=tuple(SPACES), default="imagenet")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--networks", type=int, default=100, help="unseen ones")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the table")
    parser.add_argument("--network-rounds", type=int, default=NETWORK_ROUNDS, help="of the unseen networks")
    parser.add_argument(
        "--most-visits", type=int, default=MOST_VISITS, help="visits of unseen networks while the machine is slower"
    )
    parser.add_argument("--load", type=int, default=0, help="busy processes per usable core")
    parser.add_argument("--quiet", type=Path, help="record of the same table without load, to compare with")
    parser.add_argument("--coarse", action="store_true", help="the bars for two threads, compilers and mobile runtimes")
    parser.add_argument("--work", type=Path, required=True, help="folder of the table and the finished rounds")
    arguments = parser.parse_args()
    check_same_machine(arguments.quiet)
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    with busy(arguments.load * len(os.sched_getaffinity(0))) as load:
        runtime = LoadedRuntime(
            open_device(DeviceOptions(device=arguments.device), arguments.runtime, arguments.threads), load
        )
        table, build = built(arguments, runtime)
        started = time.monotonic()
        unseen = measured(arguments, table, runtime)
        measuring_s = time.monotonic() - started
    record = {
        "what": "unseen networks measured and predicted by a latency table, and by affine MACs",
        "setting": {name: getattr(arguments, name) for name in SETTING}
        | {"usable_cores": len(os.sched_getaffinity(0))},
        "runtime": table.runtime,
        "threads": table.threads,
        "clock": table.clock,
        "build": build,
        "table": {
            "error": vars(table.error),
            "interval_percent": table.spread.percent,
            "calibration": vars(table.calibration),
            "interpolation": {kind: vars(errors) for kind, errors in knot_errors(table.entries).items()},
            "steps": [str(step) for step in find_steps(table.entries)],
        },
        "measuring_s": round(measuring_s, 1),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        **compared(table, unseen),
        "provenance": provenance(table.provenance["machine"]),
    }
    record["verdict"] = verdict(record, arguments)
    keep("table_accuracy", subject_of(table), compacted(record, table.space), *conditions(arguments))
    shown = {name: record[name] for name in ("build", "unseen", "macs", "verdict")}
    shown["unseen"] = {name: value for name, value in record["unseen"].items() if name != "networks"}
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")


def subject_of(table: LatencyTable) -> str:
    """The runtime, with space and resolution unless they are the paper's."""
    usual = (table.space.name, table.resolution) == ("imagenet", 224)
    return table.runtime["name"] + ("" if usual else f"_{table.space.name}_{table.resolution}px")


def conditions(arguments: argparse.Namespace) -> list[str]:
    """Conditions in the record's name: threads, load, and usable cores if other programs have some."""
    usable, cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    threads = f"{arguments.threads}t" if arguments.threads > 1 else ""
    return [threads, "loaded" if arguments.load else "", f"{usable}core" if usable < cores else ""]


def check_same_machine(quiet: Path | None) -> None:
    if quiet is not None and (mismatches := differences(read_record(quiet, Any)["provenance"]["machine"], machine())):
        raise SystemExit(f"{quiet} is from another machine, so it cannot be compared: {'; '.join(mismatches)}.")


class Load:
    """Busy processes that can be stopped and continued."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self._processes, self._awake = processes, True

    def wake(self, awake: bool) -> None:
        if awake != self._awake:
            for process in self._processes:
                process.send_signal(signal.SIGCONT if awake else signal.SIGSTOP)
            self._awake = awake


@contextlib.contextmanager
def busy(count: int) -> Iterator[Load]:
    processes = [subprocess.Popen(BUSY) for _ in range(count)]
    try:
        yield Load(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


class LoadedRuntime:
    """A runtime whose samples are taken under the load."""

    def __init__(self, runtime: Runtime, load: Load) -> None:
        self._runtime, self._load = runtime, load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def prepare(self, module: torch.nn.Module, input_shape: tuple[int, ...]) -> Prepared:
        self._load.wake(False)
        return LoadedNetwork(self._runtime.prepare(module, input_shape), self._load)


class LoadedNetwork:
    def __init__(self, prepared: Prepared, load: Load) -> None:
        self._prepared, self._load = prepared, load
        self.output = prepared.output

    def sample(self, calls: Calls, clock: Clock) -> float:
        self._load.wake(True)
        return self._prepared.sample(calls, clock)


def built(arguments: argparse.Namespace, runtime: Runtime) -> tuple[LatencyTable, dict[str, Any]]:
    """The table in the work folder, built if it is missing, and how long that took."""
    path, build, partial = (arguments.work / name for name in ("table.json", "build.json", "table.partial.jsonl"))
    if not (path.exists() and build.exists()):
        resumed, started = partial.exists(), time.monotonic()
        table = build_table(
            SPACES[arguments.space],
            resolution=arguments.resolution,
            num_classes=arguments.num_classes,
            runtime=runtime,
            clock=arguments.clock or ("cpu" if arguments.threads == 1 else "wall"),
            rounds=arguments.rounds,
            partial_path=partial,
            progress=say,
        )
        table.save(path)
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        seconds = round(time.monotonic() - started, 1)
        write_record(build, {"seconds": seconds, "resumed": resumed, "peak_memory_gib": round(peak_gib, 2)})
    return LatencyTable.load(path), read_record(build, Any)


def measured(arguments: argparse.Namespace, table: LatencyTable, runtime: Runtime) -> list[UnseenNetwork]:
    return measure_unseen(
        table,
        draw_unseen(table, arguments.networks, SEED),
        runtime,
        rounds=arguments.network_rounds,
        most_visits=arguments.most_visits,
        seed=SEED,
        partial_folder=arguments.work / "unseen",
        progress=say,
    )


def compared(table: LatencyTable, unseen: list[UnseenNetwork]) -> dict[str, Any]:
    """Both predictors on the same networks: as measured, and with the machine brought back to the table's speed."""
    measured_ms = np.array([net.measured_ms for net in unseen])
    from_macs = [
        replace(net, predicted_ms=float(ms)) for net, ms in zip(unseen, affine_macs(table, unseen), strict=True)
    ]
    macs = unseen_record(from_macs)
    return {
        "num_networks": len(unseen),
        "span": float(measured_ms.max() / measured_ms.min()),
        "unseen": unseen_record(unseen),
        "macs": {name: macs[name] for name in ("error", "bias_percent", "within_5_percent", "at_table_speed")},
    }


def affine_macs(table: LatencyTable, unseen: list[UnseenNetwork]) -> np.ndarray:
    """Milliseconds of the unseen networks from their MACs; least relative squares on the table's own networks."""

    def columns(architectures: list[Any]) -> np.ndarray:
        macs = [network_cost(net, table.resolution, table.num_classes).macs for net in architectures]
        return np.stack([np.array(macs, float), np.ones(len(macs))], axis=1)

    known_ms = np.array([net.measured_ms for net in table.networks])
    known = columns([net.architecture for net in table.networks]) / known_ms[:, None]
    scale = np.abs(known).max(axis=0)
    coefficients = np.linalg.lstsq(known / scale, np.ones(len(known)), rcond=None)[0] / scale
    return columns([net.architecture for net in unseen]) @ coefficients


def verdict(record: dict[str, Any], arguments: argparse.Namespace) -> dict[str, dict[str, bool]]:
    """Each bar of the project, held or not: as measured, and with the machine brought back to the table's speed.

    The two differ if the machine's speed changed between building the table and measuring the networks.
    """
    both = {"as measured": record["unseen"], "at table speed": record["unseen"]["at_table_speed"]}
    macs = {"as measured": record["macs"], "at table speed": record["macs"]["at_table_speed"]}
    if arguments.coarse:
        return {speed: coarse_bars(row["error"]) for speed, row in both.items()}
    held = {speed: fine_bars(row, macs[speed]["error"]["mean_percent"]) for speed, row in both.items()}
    held["table"] = {
        f"built in <= {BUILD_S / 60:g} minutes": record["build"]["seconds"] <= BUILD_S,
        "100 networks": record["num_networks"] >= 100,
        f"latencies span >= {SPAN:g}x": record["span"] >= SPAN,
    }
    if arguments.quiet is not None:
        quiet = read_record(arguments.quiet, Any)["unseen"]
        quiet_errors = {"as measured": quiet, "at table speed": quiet["at_table_speed"]}
        for speed, row in both.items():
            ratio = row["error"]["mean_percent"] / quiet_errors[speed]["error"]["mean_percent"]
            held[speed][f"at most {LOADED_RATIO:g} times the quiet error"] = ratio <= LOADED_RATIO
    return held


def coarse_bars(error: dict[str, float]) -> dict[str, bool]:
    return {
        f"mean error <= {COARSE['mean_percent']:g} %": error["mean_percent"] <= COARSE["mean_percent"],
        f"Kendall tau >= {COARSE['kendall_tau']}": error["kendall_tau"] >= COARSE["kendall_tau"],
    }


def fine_bars(row: dict[str, Any], macs_percent: float) -> dict[str, bool]:
    error = row["error"]
    return {
        f"mean error <= {FINE['mean_percent']:g} %": error["mean_percent"] <= FINE["mean_percent"],
        f">= {FINE['within_5_percent']:g} % within 5 %": row["within_5_percent"] >= FINE["within_5_percent"],
        f"all within {FINE['max_percent']:g} %": error["max_percent"] <= FINE["max_percent"],
        f"Kendall tau >= {FINE['kendall_tau']}": error["kendall_tau"] >= FINE["kendall_tau"],
        f"at most {SHARE_OF_MACS:g} of the error of MACs": error["mean_percent"] <= SHARE_OF_MACS * macs_percent,
        f"intervals cover {COVERED[0]:g} to {COVERED[1]:g} %": COVERED[0] <= row["covered_percent"] <= COVERED[1],
    }


def say(done: int, total: int, text: str) -> None:
    sys.stderr.write(f"\r{done}/{total} {text:<60}")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
