"""What the measured ratios mean for a design on this device, as sentences that follow from the rows alone. No torch.

Claims are summarized over their experiments, and each changed choice over the whole networks that it was tried in.
"""

from collections.abc import Sequence
from typing import Any

from efficientformer.analysis.observations.claims import CLAIMS, COMPILER
from efficientformer.analysis.observations.verdict import COSTS, EQUAL, FAILS, HOLDS, IN_PART, SAVES, UNDECIDED, overall

Rows = Sequence[dict[str, Any]]

TOPICS = {
    "patch_embedding": "Stem",
    "attention": "Attention",
    "layout": "Order of blocks",
    "norm": "Norm",
    "gelu": "GELU",
    "hardswish": "HardSwish",
}
"""The design choice that each claim is about."""
MEANINGS = {
    ("patch_embedding", HOLDS): "Keep the convolution stem: it is faster.",
    ("patch_embedding", FAILS): "A patch embedding is no bottleneck: the convolution stem is a choice for accuracy.",
    ("patch_embedding", IN_PART): "Whether a patch embedding is slower depends on the setting; see the experiments.",
    ("attention", HOLDS): "Attention is affordable in the last stages.",
    ("attention", FAILS): "Attention is expensive: use it in as few blocks as accuracy allows.",
    ("attention", IN_PART): "Attention is affordable in some settings only; see the experiments.",
    ("layout", HOLDS): "Keep one boundary between maps and tokens.",
    ("layout", FAILS): "Reshapes are nearly free: blocks may be mixed in any order.",
    ("layout", IN_PART): "One boundary between maps and tokens is the safe choice; some reshapes are nearly free.",
    ("norm", HOLDS): "Keep batch norm, which costs nothing once folded.",
    ("norm", FAILS): "Other norms are nearly free: choose the norm by accuracy.",
    ("norm", IN_PART): "Batch norm is the safe choice; some other norms are as fast.",
    ("gelu", HOLDS): "Keep GELU.",
    ("gelu", FAILS): "GELU is slower than ReLU.",
    ("gelu", IN_PART): "GELU is cheap in some settings only; see the experiments.",
    ("hardswish", HOLDS): "Avoid HardSwish.",
    ("hardswish", FAILS): "HardSwish is well supported.",
    ("hardswish", IN_PART): "HardSwish is slow in some settings; see the experiments.",
}

UNKNOWN = "Inconclusive: the noise is too large. Measure again on a quieter machine or with more rounds."


def summarize_claims(experiments: Rows, differences: Rows) -> list[dict[str, Any]]:
    """One row {claim, topic, observation, words, runtimes: {name: {verdict, low, high, ...}}, across} per claim.

    `topic` is the design choice that the claim is about; `low` and `high` are the smallest and the largest ratio of its
    experiments. The claim about compilers compares runtimes, so its row has a single verdict, under `across`.
    """
    runtimes = list(dict.fromkeys(row["runtime"] for row in experiments))
    rows = []
    for key, claim in CLAIMS.items():
        by_runtime = {
            runtime: _summary(key, tried)
            for runtime in runtimes
            if (tried := [row for row in experiments if row["claim"] == key and row["runtime"] == runtime])
        }
        about = {"claim": key, "topic": TOPICS.get(key), "observation": claim.observation, "words": claim.words}
        if by_runtime:
            rows.append({**about, "runtimes": by_runtime, "across": None})
        elif key == COMPILER.key and differences:
            rows.append({**about, "runtimes": {}, "across": _across(differences)})
    return rows


def _summary(key: str, rows: Rows) -> dict[str, Any]:
    verdict = overall([row["verdict"] for row in rows])
    return {
        "verdict": verdict,
        "num_held": sum(row["verdict"] == HOLDS for row in rows),
        "num_experiments": len(rows),
        "low": min(row["ratio"] for row in rows),
        "high": max(row["ratio"] for row in rows),
        "meaning": f"{MEANINGS.get((key, verdict), UNKNOWN)}{_per_mac(rows)}",
    }


def _per_mac(rows: Rows) -> str:
    """The ratio per multiply-accumulate, over the pairs of parts whose multiply-accumulates differ."""
    per_mac = [
        row["ratio"] * row["baseline_macs"] / row["subject_macs"]
        for row in rows
        if not row["is_network"] and row["subject_macs"] != row["baseline_macs"]
    ]
    if not per_mac:
        return ""
    low, high = (f"{value:.1f}" for value in (min(per_mac), max(per_mac)))
    return f" Per multiply-accumulate, it takes {low if low == high else f'{low} to {high}'} times as long."


def _across(differences: Rows) -> dict[str, Any]:
    """The claim holds if the cost of any activation differs between runtimes."""
    verdicts = [row["verdict"] for row in differences]
    verdict = HOLDS if HOLDS in verdicts else overall(verdicts)
    widest = max(differences, key=lambda row: row["interval"][0])
    return {"verdict": verdict, "widest": widest}


def advise(switches: Rows) -> list[dict[str, Any]]:
    """The effect of each changed choice on whole networks, by runtime.

    Rows {runtime, saves, costs, equal, untold}: lists of {choice, networks: [{network, percent}]}, where `percent` is
    the change of the network's latency. The largest saving comes first.
    """
    kinds = {SAVES: "saves", COSTS: "costs", EQUAL: "equal", UNDECIDED: "untold"}
    advice: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}
    for row in switches:
        groups = advice.setdefault(row["runtime"], {kind: {} for kind in kinds.values()})
        change = {"network": row["network"], "percent": 100 * (row["ratio"] - 1)}
        groups[kinds[row["effect"]]].setdefault(row["choice"], []).append(change)
    return [
        {"runtime": runtime, **{kind: _by_savings(choices) for kind, choices in groups.items()}}
        for runtime, groups in advice.items()
    ]


def _by_savings(choices: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    items = [{"choice": choice, "networks": networks} for choice, networks in choices.items()]
    return sorted(items, key=lambda item: min(change["percent"] for change in item["networks"]))
