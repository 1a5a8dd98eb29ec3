"""How pages write numbers, budgets and actions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.spec import Architecture, AttnFFN, num_heads_of

EN_DASH, TIMES, MINUS = "\u2013", "\u00d7", "\u2212"
ABSENT = EN_DASH
THIN_SPACE = "\u202f"

FACTS = {"cpu": "processor", "memory_gib": "memory (GiB)", "os": "system"}
RUNTIMES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "pytorch": "PyTorch",
    "torch_compile": "torch.compile",
    "mnn": "MNN",
    "litert": "LiteRT",
    "cuda": "CUDA",
    "tensorrt": "TensorRT",
}
BEST_OF = "best of {count} "
BASELINES = {
    "slimming": "slimming",
    "scaled_l1": "scaled EfficientFormer-L1",
    "scaled_v2_s0": "scaled EfficientFormerV2-S0",
    "slim_by_macs": "slimming by MACs",
    "slim_by_params": "slimming by parameters",
    "slim_by_latency": "slimming by latency",
    "slim_by_mes": "slimming by MES",
    "coarse": "slimming with fixed expansions",
    "random": f"{BEST_OF}random networks",
    "evolution": "evolution",
    "surrogate": "greedy slimming on the additive surrogate",
    "surrogate_optimum": "optimum of the additive surrogate",
}
DEFAULT_HEADS = AttnFFN.num_heads
KINDS = {
    "MB4D": "pooling, on maps",
    "MB3D": "attention, on tokens",
    "FFN": "MLP with a convolution, on maps",
    "AttnFFN": "attention, then an FFN, on maps",
}
ACTIONS = {
    "identity": "drop a block",
    "swap": "swap a block for a cheaper kind",
    "contract": "contract an MLP",
    "prune": "take heads from an attention",
    "narrow": "narrow a stage",
    "exchange": "narrow a stage and widen another",
    "narrow_fpn": "narrow the head's pyramid",
    "narrow_head": "narrow the head",
    "shorten_head": "shorten the head's branches",
}
OBJECTIVES = {"latency": "millisecond saved", "mes": "point of Mobile Efficiency Score gained"}
METRICS = {"likelihood": "likelihood", "top1": "top-1", "mean_ap": "mAP", "box_ap": "box AP", "miou": "mIoU"}
LIMITS = {"params_m": "M parameters", "macs_m": "M MACs", "file_mib": "MiB of file", "memory_mib": "MiB of memory"}


def ms(value: float | None) -> str:
    """Milliseconds to three significant digits or so, without the unit."""
    if value is None:
        return ABSENT
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def runtime_title(name: str) -> str:
    return RUNTIMES.get(name, name)


def runtime_list(runtimes: Sequence[Mapping[str, Any]]) -> str:
    """Names and versions of runtimes, without build numbers, from their descriptions."""
    return join([f"{runtime_title(found['name'])} {str(found['version']).partition('-')[0]}" for found in runtimes])


def baseline(name: str, count: int | None = None) -> str:
    words = BASELINES.get(name, name)
    return words.removeprefix(BEST_OF) if count is None else words.replace("{count}", str(count))


def span(low: str, high: str) -> str:
    return f"{low}{EN_DASH}{high}"


def grid(size: tuple[int, int]) -> str:
    return f"{size[0]} {TIMES} {size[1]}"


def input_size(resolution: int | Sequence[int]) -> str:
    """A side or, of an input that is not square, height and width."""
    height, width = grid_of_input(resolution)
    return str(height) if height == width else grid((height, width))


def interval(values: Sequence[float] | None) -> str:
    return ABSENT if not values else span(ms(values[0]), ms(values[1]))


def percent(value: float | None, digits: int = 1) -> str:
    return ABSENT if value is None else f"{value:.{digits}f}"


def confidence(percent: float) -> str:
    """The confidence of an interval, in percent, rounded down: no interval has 100 %."""
    return f"{math.floor(10 * min(percent, 99.9) + 1e-6) / 10:g}"


def count(value: int | None) -> str:
    return ABSENT if value is None else f"{value:,}"


def scaled(value: float | None, unit: str = "") -> str:
    """A large count with its prefix: 1.24 M, 310 k."""
    if value is None:
        return ABSENT
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            shown = value / size
            return f"{shown:.{0 if shown >= 100 else 1 if shown >= 10 else 2}f}{THIN_SPACE}{prefix}{unit}"
    return f"{value:g}{THIN_SPACE}{unit}".rstrip()


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ABSENT
    if seconds < 90:
        return f"{seconds:.0f}{THIN_SPACE}s"
    minutes = seconds / 60
    return f"{minutes:.0f}{THIN_SPACE}min" if minutes < 90 else f"{minutes / 60:.1f}{THIN_SPACE}h"


def budget_title(budget: str, budget_ms: float | None) -> str:
    """A budget as the user wrote it; a relative budget is followed by its milliseconds."""
    if budget_ms is None or budget.strip().lower().endswith("ms"):
        return budget
    return f"{budget} ({ms(budget_ms)}{THIN_SPACE}ms)"


def join(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def action(candidate: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """A slimming action in words; with the networks before and after it, also the widths."""
    stage, block = candidate.get("stage"), candidate.get("block")
    if candidate.get("further"):
        return str(candidate["text"])
    match candidate["action"]:
        case "identity":
            return f"stage {stage}: block {block} dropped"
        case "swap":
            return f"stage {stage}: block {block} becomes {candidate['into']}"
        case "contract":
            several = "s" if "," in candidate["into"] or "-" in candidate["into"] else ""
            return f"stage {stage}: block {block} contracts to expansion{several} {candidate['into']}"
        case "prune":
            several = "" if candidate["into"] == "1" else "s"
            return f"stage {stage}: block {block} keeps {candidate['into']} head{several}"
        case "narrow":
            return f"stage {stage}: narrowed{_change_of_width(stage, before, after)}"
        case "narrow_fpn" | "narrow_head" | "shorten_head":
            return str(candidate["text"])
        case "exchange":
            narrowed, widened = (_change_of_width(index, before, after) for index in (stage, candidate["wider"]))
            return f"stage {stage}: narrowed{narrowed}; stage {candidate['wider']}: widened{widened}"
        case other:
            return str(other)


def _change_of_width(stage: int | None, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    if not (stage and before and after):
        return ""
    first, then = (network["stages"][stage - 1]["width"] for network in (before, after))
    return f" from {first} to {then}"


def runtime(description: Mapping[str, Any] | None, threads: int | None = None) -> str:
    """A runtime as one phrase: name, version, compute unit, precision, number of threads."""
    if not description:
        return "an unnamed runtime"
    words = " ".join(str(description[key]) for key in ("name", "version") if description.get(key))
    counted = f"{threads} thread{'s' if threads != 1 else ''}" if threads else ""
    parts = (words, description.get("compute_unit"), description.get("precision"), counted)
    return ", ".join(str(part) for part in parts if part)


def calibration(table: Mapping[str, Any]) -> str:
    """How a latency table calibrates the sum of parts to the latency of a network."""
    words = f"{TIMES}{THIN_SPACE}{table['scale']:.3f}"
    if table.get("offset_ms"):
        words += f", {table['offset_ms']:+.3f}{THIN_SPACE}ms"
    if table.get("ms_per_mib"):
        rate, cache = f"{table['ms_per_mib']:.3g}", f"{table['cache_mib']:.3g}"
        words += f", {rate}{THIN_SPACE}ms for each MiB of weights that miss a cache of {cache}{THIN_SPACE}MiB"
    return words


def signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", MINUS)


def ratio_percent(logarithm: float | None) -> float | None:
    """A difference of logarithms as a relative difference in percent."""
    return None if logarithm is None else 100 * (math.exp(logarithm) - 1)


def step(record: Mapping[str, Any]) -> str:
    """A narrower width that is not proportionally faster on this device."""
    saved = 100 * (1 - record["narrow_ms"] / record["wide_ms"])
    return (
        f"{record['family']}: from {record['wide']} to {record['narrow']} channels saves {saved:.0f}{THIN_SPACE}% "
        f"of {ms(record['wide_ms'])}{THIN_SPACE}ms"
    )


def flat(settings: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value), in their order."""
    if not isinstance(settings, Mapping):
        shown = ", ".join(map(str, settings)) if isinstance(settings, list) else str(settings)
        return [(prefix, shown if shown else ABSENT)]
    return [row for key, value in settings.items() for row in flat(value, f"{prefix}.{key}" if prefix else str(key))]


def shape(architecture: Any) -> str:
    """An architecture of a record, in one line."""
    return network(Architecture.from_json(architecture))


def network(architecture: Architecture) -> str:
    """A network in one line; of EfficientFormerV2 with the expansions of its blocks, and where they differ with the
    heads of those that attend, stage by stage."""
    words = f"{architecture}, expansions {expansions(architecture)}" if architecture.is_v2 else str(architecture)
    return f"{words}{heads(architecture)}"


def expansions(architecture: Architecture) -> str:
    """`44-44-433344-4334`; stages are between dashes, blocks with expansions of two digits between commas."""
    return _by_stage([[block.mlp_ratio for block in stage.blocks] for stage in architecture.stages])


def heads(architecture: Architecture) -> str:
    """`, heads 84-8` of the blocks that attend, stage by stage; empty where all have as many as the published ones."""
    numbers = [[num_heads_of(block) for block in stage.blocks if num_heads_of(block)] for stage in architecture.stages]
    found = {number for stage in numbers for number in stage}
    if len(found) < 2:
        return "" if found <= {DEFAULT_HEADS} else f", {found.pop()} heads"
    return f", heads {_by_stage(list(filter(None, numbers)))}"


def _by_stage(numbers: Sequence[Sequence[int]]) -> str:
    between = "," if max(map(max, numbers)) > 9 else ""
    return "-".join(between.join(map(str, stage)) for stage in numbers)


def gain(objective: str | None) -> str:
    """What a step of slimming divides the drop by, as one unit."""
    return OBJECTIVES.get(objective or "latency", f"unit gained, by weights {objective}")
