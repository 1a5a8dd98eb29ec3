"""Our deploy form and our training step against timm's of the same network on the same weights, interleaved.

    python benchmarks/studies/against_timm.py --work runs/timm --threads 1 --threads 2 --runtime onnxruntime
    python benchmarks/studies/against_timm.py --work runs/timm --training --batch-size 32 --threads 2

timm builds every network of the zoo with random weights, ours loads them, both are exported by the same exporter (ours
fused first), and their outputs are compared. The ratio is ours over timm's within each round, so changes of the
machine's speed cancel. `--training` times forward and backward passes of eager PyTorch in turns. Pairs that are in
`--work` already are not measured again.
"""

import argparse
import statistics
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from scipy.stats import bootstrap
from torch import nn

from efficientformer.analysis.comparison.random_weights import randomize
from efficientformer.arch.zoo import ZOO
from efficientformer.latency.devices import default_clock, open_runtime
from efficientformer.latency.timing.measure_networks import Subject, measure_networks
from efficientformer.models.create import create_model
from efficientformer.models.deploy.forms import forms_of
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_weights
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import write_record
from naming import keep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=tuple(ZOO), help="all by default")
    parser.add_argument("--runtime", action="append", help="onnxruntime and openvino by default")
    parser.add_argument("--threads", type=int, action="append", help="1 by default")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--training", action="store_true", help="forward and backward passes instead of inference")
    parser.add_argument("--batch-size", type=int, default=32, help="images in a training step")
    parser.add_argument("--steps", type=int, default=8, help="timed training steps of each network")
    parser.add_argument("--training-device", default="cpu", help="device of the training steps, such as cuda")
    parser.add_argument("--work", type=Path, required=True, help="folder of the finished pairs")
    arguments = parser.parse_args()
    names, runtimes = arguments.network or list(ZOO), arguments.runtime or ["onnxruntime", "openvino"]
    device = arguments.training_device if arguments.training else "cuda" if "cuda" in runtimes else "cpu"
    subject = "training" if arguments.training else "inference"
    path = arguments.work / f"{subject}-{device}.json"
    rows = read_record(path, Any) if path.exists() else []
    for name, runtime, threads in product(
        names, ["training"] if arguments.training else runtimes, arguments.threads or [1]
    ):
        about = {"network": name, "runtime": runtime, "threads": threads}
        if arguments.training:
            about["device"] = device
        if not any(about.items() <= row.items() for row in rows):
            torch.set_num_threads(threads)
            timed = training_step(name, arguments) if arguments.training else inference(about, arguments)
            write_record(path, rows := [*rows, {**about, **timed}])
            low, high = timed["interval"]
            sys.stdout.write(f"{name} {runtime} {threads}: {timed['ratio']:.3f} [{low:.3f}, {high:.3f}]\n")
    record = {"what": "ours over timm's, same network and weights", "rows": rows, "provenance": provenance()}
    keep("against_timm", subject, record, "" if device == "cpu" else device)


def pair(name: str, resolution: int) -> tuple[Network, nn.Module]:
    options = {"img_size": resolution} if ZOO[name].is_v2 else {}
    theirs = timm.create_model(name, **options).eval()
    randomize(theirs, (1, 3, resolution, resolution))
    ours = create_model(name, resolution=resolution, has_distillation_head=True)
    load_weights(ours, theirs.state_dict())
    return ours.eval(), theirs


def inference(about: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    runtime_name, threads = about["runtime"], about["threads"]
    ours, theirs = pair(about["network"], arguments.resolution)
    runtime, shape = open_runtime(runtime_name, threads), (1, 3, *[arguments.resolution] * 2)
    # Eager PyTorch runs networks as they are built; exported networks are fused.
    deployed = ours if runtime_name == "pytorch" else fuse(ours, forms_of(runtime_name))
    subjects = {
        "ours": Subject(runtime.prepare(deployed, shape), runtime, shape),
        "timm": Subject(runtime.prepare(theirs, shape), runtime, shape),
    }
    outputs = [subject.prepared.output() for subject in subjects.values()]
    clock = default_clock("local", [runtime_name], threads)
    measured = measure_networks(subjects, clock, arguments.rounds, reference="timm")
    ratio = measured["ours"].ratio
    assert ratio is not None
    return {
        "ratio": ratio.p50,
        "interval": list(ratio.interval),
        "ours_ms": measured["ours"].p50_ms,
        "timm_ms": measured["timm"].p50_ms,
        "clock": clock,
        "rounds": arguments.rounds,
        "logits_differ_by": float(np.abs(outputs[0] - outputs[1]).max() / outputs[1].std()),
    }


def training_step(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Ratios of neighboring steps. The first step of each network allocates memory and is not timed."""
    resolution, batch_size = arguments.resolution, arguments.batch_size
    device = torch.device(arguments.training_device)
    networks = {kind: net.to(device) for kind, net in zip(("ours", "timm"), pair(name, resolution), strict=True)}
    images = torch.randn(batch_size, 3, resolution, resolution, device=device)
    labels = torch.randint(1000, (batch_size,), device=device)
    seconds: dict[str, list[float]] = {kind: [] for kind in networks}
    for number in range(arguments.steps + 1):
        for kind in sorted(networks, reverse=bool(number % 2)):
            network = networks[kind].train()
            started = time.perf_counter()
            nn.functional.cross_entropy(network(images), labels).backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:
                seconds[kind].append(time.perf_counter() - started)
            network.zero_grad(set_to_none=True)
    ratios = np.array(seconds["ours"]) / np.array(seconds["timm"])
    interval = bootstrap((ratios,), np.median, rng=np.random.default_rng(0), method="percentile").confidence_interval
    return {
        "ratio": float(np.median(ratios)),
        "interval": [float(interval.low), float(interval.high)],
        "ours_s": statistics.median(seconds["ours"]),
        "timm_s": statistics.median(seconds["timm"]),
        "batch_size": batch_size,
        "steps": arguments.steps,
    }


if __name__ == "__main__":
    main()
