"""Latency by class of operator for the networks of the paper's figure 2, on any runtime."""

from collections.abc import Sequence
from typing import Any

from efficientformer.analysis.comparison.build_network import build_network
from efficientformer.analysis.comparison.network_source import find_sources
from efficientformer.analysis.hotspots.operator_classes import CLASSES, Roles, class_of, num_fused
from efficientformer.errors import UsageError
from efficientformer.latency.profilers import ROUNDS, find_profiler
from efficientformer.latency.profilers.profile import Profile
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.timer import Progress

DEFAULT_NETWORKS = {
    "deit_small_patch16_224": "DeiT-S",
    "poolformer_s24": "PoolFormer-S24",
    "levit_256": "LeViT-256",
    "efficientformer_l1": "EfficientFormer-L1",
    "mobilenetv2_140": "MobileNetV2 x1.4",
    "resnet50": "ResNet50",
    "efficientnet_b0": "EfficientNet-B0",
}
"""The networks of the paper's figure 2, with their titles."""
NO_PROFILER = "none: no profiler is available for this runtime on this device"


def measure_hotspots(
    runtimes: Sequence[Runtime],
    *,
    resolution: int = 224,
    names: Sequence[str] = tuple(DEFAULT_NETWORKS),
    rounds: int = ROUNDS,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """One row per network and runtime, as JSON values: latency in milliseconds, in total and by class of operator.

    A row is {model, title, runtime, resolution, threads, total_ms, source, is_shares, classes, unassigned_ms,
    num_operators, num_fused}.

    total_ms: timed without the profiler.
    classes, unassigned_ms: add up to `total_ms`; `unassigned_ms` is the time between operators and the error of the
        profiler.
    num_fused: by class, the number of operators that ran inside others; their time counts for those.
    source: the profiler. For a runtime without one it starts with "none", and there are no figures.

    names: networks of ours or of timm. Raises UsageError for an unknown network, and LatencyError for one that cannot
    run.
    """
    sources = find_sources(names)
    for source in sources:
        if source.kind == "onnx":
            raise UsageError(f"{source.name} is an ONNX file, without modules. Name a network of ours or of timm.")
    rows = []
    for source in sources:
        network = build_network(source, resolution)
        for runtime in runtimes:
            title = DEFAULT_NETWORKS.get(source.name, source.title)
            if progress is not None:
                progress(len(rows), len(sources) * len(runtimes), f"{title} on {runtime.name}")
            profiler = find_profiler(runtime)
            profile = profiler(network.module, network.input_shape, rounds) if profiler else None
            about = {"model": source.name, "title": title, "runtime": runtime.name}
            setting = {"resolution": resolution, "threads": runtime.threads}
            rows.append({**about, **setting, **hotspots(profile)})
    if progress is not None:
        progress(len(rows), len(rows), "profiled")
    return rows


def hotspots(profile: Profile | None) -> dict[str, Any]:
    """A profile summed by class of operator; empty without a profile."""
    if profile is None:
        nothing = {"classes": {}, "unassigned_ms": None, "num_operators": None, "num_fused": {}}
        return {"total_ms": None, "source": NO_PROFILER, "is_shares": False, **nothing}
    roles = Roles.of(profile.written)
    classes = dict.fromkeys(CLASSES, 0.0)
    for operator in profile.operators:
        classes[class_of(operator, roles)] += operator.ms
    return {
        "total_ms": round(profile.total_ms, 6),
        "source": profile.source,
        "is_shares": profile.is_shares,
        "classes": {name: round(ms, 6) for name, ms in classes.items() if ms > 0},
        "unassigned_ms": 0.0 if profile.is_shares else round(profile.total_ms - sum(classes.values()), 6),
        "num_operators": len(profile.operators),
        "num_fused": num_fused(profile.operators, profile.written, roles),
    }
