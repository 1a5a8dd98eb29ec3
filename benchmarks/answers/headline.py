"""The paper's headline on CPUs: networks designed for MobileNetV2's latency beside it and other published networks."""

import statistics

from answers.evidence import Question, kept, short_title, span
from answers.search import three

SUBJECT = "imagenette_6000"
ENTRY = "2026-11-29: the paper's headline again, in V2's space (held)"
L1, MOBILENET = "efficientformer_l1", "mobilenetv2_140.ra_in1k"
TITLES = {
    "mobilenetv2_100": "MobileNetV2 x1.0",
    "mobilenetv2_140": "MobileNetV2 x1.4",
    "mobilenetv4_conv_small": "MobileNetV4-conv-small",
    "levit_128s": "LeViT-128S",
    "repvit_m0_9": "RepViT-M0.9",
    "efficientformerv2_s0": "EfficientFormerV2-S0",
}


def l1_ratios() -> list[float]:
    """Latency of L1 over MobileNetV2 x1.4, on every runtime and machine."""
    ratios = []
    for _, found in kept("benchmark", "paper"):
        pair = next(row for row in found["comparisons"] if (row["network"], row["baseline"]) == (L1, MOBILENET))
        ratios += [row["ratio"] for row in pair["results"]]
    return ratios


def points_ahead() -> list[float]:
    """Points of top-1 by which networks designed in V2's space are ahead of the MobileNetV2 of their latency."""
    networks = kept("headline", SUBJECT)[-1][1]["networks"]
    return [
        statistics.mean(row["top1"]) - statistics.mean(networks[_budget(name)]["top1"])
        for name, row in networks.items()
        if name.endswith("in v2_standard")
    ]


def headline_question() -> Question:
    name, found = kept("headline", SUBJECT)[-1]
    settings = found["settings"]
    setting = f"Imagenette, {settings['resolution']} px, {settings['train']['epochs']} epochs of 6,000 images"
    rows: list[list[str]] = [[setting, "p50 ms [95 %]", "M MACs", "top-1, mean of seeds (range)"]]
    for key, network in sorted(found["networks"].items(), key=lambda item: item[1]["p50_ms"]):
        low, high = network["p50_interval_ms"]
        top1 = network["top1"]
        scores = f"{statistics.mean(top1):.1f} % ({min(top1):.1f} to {max(top1):.1f})"
        latency = f"{three(network['p50_ms'])} [{three(low)}, {three(high)}]"
        rows.append([_title(key), latency, f"{network['macs'] / 1e6:.0f}", scores])
    answer = (
        f"L1 takes {span(l1_ratios(), 2, '')} times as long as MobileNetV2 x1.4 on CPUs, equally long on the paper's "
        f"phone. Networks designed for MobileNetV2's latency, in V1's space and in V2's, beside published ones, all "
        f"trained alike from new weights ({short_title(name.machine)}):"
    )
    return Question(
        "Is EfficientFormer as fast as MobileNetV2 here?",
        answer,
        ["headline", "keep"],
        [ENTRY, "2026-11-27: the paper's observations and Table 1 on the Xeon (headline not confirmed)"],
        table=rows,
    )


def _budget(name: str) -> str:
    """The network whose latency a designed one has: its name is `designed for NETWORK in SPACE`."""
    return name.split(" ")[2]


def _title(name: str) -> str:
    if name in TITLES:
        return TITLES[name]
    return f"designed for {TITLES[_budget(name)]}, `{name.rpartition(' ')[2]}`"
