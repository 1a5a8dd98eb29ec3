"""Is a latency the same in every process? One network measured in ten processes, one after another.

    python benchmarks/studies/repeatability.py --work runs/repeatability

Each process opens EfficientFormer-L1 and a network a third its size on ONNX Runtime and on OpenVINO, and measures the
four interleaved on one thread by its CPU time. The spread of a latency is the slowest process over the fastest, minus
one, in percent; the spread of L1's ratio to the smaller network is given as well. `--work` keeps finished processes
with their samples, which the record leaves out; the same command resumes.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import L1, build_architecture
from efficientformer.exporting.onnx import export_onnx
from efficientformer.latency.devices import open_runtime
from efficientformer.latency.timing.calm import MAX_REDONE_SHARE
from efficientformer.latency.timing.measure_networks import Subject, measure_networks
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import atomic_path, write_record
from naming import keep

RUNTIMES = ("onnxruntime", "openvino")
NETWORKS = {"efficientformer_l1": L1, "reference": build_architecture((32, 64, 144, 288), (2, 2, 4, 3), 1)}
NETWORK, REFERENCE = NETWORKS
RESOLUTION = 224
INPUT_SHAPE = (1, 3, RESOLUTION, RESOLUTION)
LAYER_SCALE = 0.5
BAR_PERCENT = 2.0


def export(architecture: Architecture, path: Path) -> None:
    torch.manual_seed(0)
    network = create_model(architecture, num_classes=1000, resolution=RESOLUTION, layer_scale_init=LAYER_SCALE)
    with atomic_path(path) as temporary:
        export_onnx(fuse(network), INPUT_SHAPE, temporary)


def measure(work: Path, rounds: int, most_redone: float, out: Path) -> None:
    """One process: open all networks and measure them interleaved."""
    torch.set_num_threads(1)
    subjects = {}
    for runtime in map(open_runtime, RUNTIMES):
        for name in NETWORKS:
            subjects[f"{name} on {runtime.name}"] = Subject(
                runtime.open(work / f"{name}.onnx", INPUT_SHAPE), runtime, INPUT_SHAPE
            )
    measured = measure_networks(subjects, "cpu", rounds, most_redone=most_redone)
    rows: dict[str, Any] = {}
    for runtime in RUNTIMES:
        network, reference = (measured[f"{name} on {runtime}"] for name in NETWORKS)
        ratio = network.ratio_to(reference, REFERENCE)
        rows[runtime] = {
            "p50_ms": network.p50_ms,
            "interval_ms": list(network.interval_ms),
            "ratio": ratio.p50,
            "ratio_interval": list(ratio.interval),
            "samples_ms": list(network.samples_ms),
            "timed_runs": network.timed_runs,
            "disturbed_rounds": len(network.disturbed_rounds),
            "calm": network.is_calm,
            "disturbed_percent": round(network.disturbed_percent, 1),
            "all_p50_ms": network.all_p50_ms,
            "conditions": network.conditions,
            "runtime": network.runtime,
        }
    write_record(out, rows)


def spread_percent(values: list[float]) -> float:
    return round(100.0 * (max(values) / min(values) - 1.0), 2)


def summary(processes: list[dict[str, Any]], runtime: str) -> dict[str, Any]:
    rows = [process[runtime] for process in processes]
    return {
        "runtime": rows[0]["runtime"],
        "p50_ms": [round(process["p50_ms"], 4) for process in rows],
        "p50_spread_percent": spread_percent([process["p50_ms"] for process in rows]),
        "ratio": [round(process["ratio"], 4) for process in rows],
        "ratio_spread_percent": spread_percent([process["ratio"] for process in rows]),
        "spread_of_plain_medians_percent": spread_percent([process["all_p50_ms"] for process in rows]),
        "processes": [
            {name: value for name, value in process.items() if name not in ("runtime", "samples_ms")}
            for process in rows
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the networks and finished processes")
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=160, help="calm rounds in each process")
    parser.add_argument(
        "--most-redone", type=float, default=MAX_REDONE_SHARE, help="share of them repeated if disturbed"
    )
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.work, arguments.rounds, arguments.most_redone, arguments.measure)
        return
    for name, architecture in NETWORKS.items():
        if not (arguments.work / f"{name}.onnx").exists():
            export(architecture, arguments.work / f"{name}.onnx")
    processes = []
    for index in range(arguments.processes):
        out = arguments.work / f"process-{index}-of-{arguments.rounds}-rounds-redone-{arguments.most_redone:g}.json"
        if not out.exists():
            asked = ["--rounds", str(arguments.rounds), "--most-redone", str(arguments.most_redone)]
            own = ["--work", str(arguments.work), *asked, "--measure", str(out)]
            subprocess.run([sys.executable, __file__, *own], check=True)
        processes.append(read_record(out, Any))
    runtimes = {runtime: summary(processes, runtime) for runtime in RUNTIMES}
    repeats = all(row["p50_spread_percent"] <= BAR_PERCENT for row in runtimes.values())
    redone = "" if arguments.most_redone == MAX_REDONE_SHARE else f"redone{arguments.most_redone:g}".replace(".", "")
    keep(
        "repeatability",
        NETWORK,
        {
            "what": f"{NETWORK} at {RESOLUTION} px in {arguments.processes} processes, interleaved with a smaller "
            "network",
            "clock": "cpu",
            "threads": 1,
            "rounds": arguments.rounds,
            "most_redone": arguments.most_redone,
            "bar_percent": BAR_PERCENT,
            "repeats": repeats,
            "runtimes": runtimes,
            "provenance": provenance(),
        },
        redone,
    )
    spreads = {runtime: row["p50_spread_percent"] for runtime, row in runtimes.items()}
    sys.stdout.write(json.dumps({"p50_spread_percent": spreads, "repeats": repeats}) + "\n")
    sys.exit(not repeats)


if __name__ == "__main__":
    main()
