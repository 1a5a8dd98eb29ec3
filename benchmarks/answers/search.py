"""Questions about the search: designed networks, simpler methods, the supernet's ranking, MobileNetV2, and cost."""

import statistics

from answers.evidence import Question, Table, kept, short_title, span
from drawing import Point, Row, draw_rows

SHOWN = ("quick", "pets", "camvid")
"""Of kept designs, one of each task, of which the pages show the newest."""
SUBJECTS = (*SHOWN, "imagenette")
SCORES = {"top1": "% top-1", "box_ap": "% box AP", "miou": "% mIoU"}


def design_rows() -> Table:
    """Markdown rows of designed networks; README.md of the project shows them too."""
    head = [
        "images",
        "machine",
        "date",
        "budget",
        "predicted ms",
        "measured p50 ms [95 %]",
        "kept",
        "score",
        "whole run",
    ]
    rows = [head]
    for subject in SHOWN:
        name, found = kept("design", subject)[-1]
        pixels = str(found["given_settings"].get("resolution", 28)).replace("x", " x ")
        images = f"{found['data']['name']}, {pixels} px"
        whole = "not timed" if found["seconds"] is None else f"{found['seconds'] / 60:.0f} min"
        for place, entry in enumerate(found["result"]):
            score = next(f"{entry[key]:.1f} {unit}" for key, unit in SCORES.items() if key in entry)
            low, high = entry["measured_interval_ms"]
            latency = f"{three(entry['measured_p50_ms'])} [{three(low)}, {three(high)}]"
            if (percent := entry.get("interval_percent", 95)) != 95:
                latency += f" ({percent:.1f} %)"
            where = [images, short_title(name.machine), dashed(name.date)] if place == 0 else [""] * 3
            share = f"{entry['budget'].replace('%', ' %')} = " if "%" in entry["budget"] else ""
            budget = f"{share}{three(entry['budget_ms'])} ms"
            promise = [budget, three(entry["predicted_ms"]), latency, "yes" if entry["kept"] else "**no**"]
            rows.append([*where, *promise, score, whole if place == 0 else ""])
    return rows


def three(value: float) -> str:
    """Three significant digits, zeros included."""
    return f"{value:#.3g}".rstrip(".")


def dashed(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}"


def design_share() -> tuple[int, int, str]:
    """How many designs kept their budget, of how many, and the share of the budgets that their latencies are."""
    records = [found for subject in SUBJECTS for _, found in kept("design", subject)]
    entries = [entry for found in records for entry in found["result"]]
    shares = [entry["measured_p50_ms"] / entry["budget_ms"] * 100 for entry in entries]
    return sum(entry["kept"] for entry in entries), len(entries), span(shares, 0)


def design_question() -> Question:
    num_kept, num_designs, share = design_share()
    (_, killed) = kept("kill_nine", "quick")[-1]
    same = "byte for byte the same files as" if killed["all_equal"] else "other files than"
    answer = (
        f"{num_kept} of {num_designs} do, at {share} of it; a design killed at "
        f"{len(killed['kills'])} random moments and resumed ended with {same} one that was not. The newest:"
    )
    return Question(
        "Do designed networks keep their budget?",
        answer,
        ["keep", "kill_nine"],
        ["2026-11-22: the first designs; killed and resumed (kept)", "2026-11-26: the first command on Zen 3 (kept)"],
        table=design_rows(),
    )


METHODS = {
    "mean of random": "the mean of 10 random networks",
    "best of random": "the best of 10 random networks",
    "scaled_l1": "a scaled L1",
    "paper's actions": "the paper's three actions",
}
PATHS = {"uniform": "uniform noise", "gumbel": "Gumbel noise", "even": "paths drawn evenly (default)"}


def slimming_records() -> dict[str, dict]:
    """The newest record of each way to draw paths, in the order of the defaults."""
    found = {drawn: kept("slimming", "cifar10_32k", None, drawn) for drawn in PATHS}
    return {drawn: records[-1][1] for drawn, records in found.items() if records}


def slimming_question() -> Question:
    ahead = slimming_records()["even"]["ahead"]
    parts = []
    for name, label in METHODS.items():
        low, high = ahead[name]["interval"]
        parts.append(f"{label} by {ahead[name]['points']:+.1f} [{low:+.1f}, {high:+.1f}]")
    rows = slimming_records()["even"]["rows"]
    by_budget = {
        budget: statistics.mean(row["ahead"]["paper's actions"] for row in rows if row["budget"] == budget)
        for budget in dict.fromkeys(row["budget"] for row in rows)
    }
    split = " and ".join(f"{value:+.1f} at {budget.replace('%', ' %')}" for budget, value in by_budget.items())
    answer = (
        f"On CIFAR-10 at 32 px over {len({row['seed'] for row in rows})} seeds it is ahead of {', of '.join(parts)} "
        f"points of top-1 (of the last by {split})."
    )
    return Question(
        "Does slimming beat simpler methods at equal latency?",
        answer,
        ["slimming", "trials", "actions", "strides"],
        [
            "2026-11-27: slimming against simpler methods, evenly drawn paths (held)",
            "2026-11-26: slimming against simpler methods, Gumbel noise (missed; superseded by evenly drawn paths)",
            "2026-11-26: short trials of contenders (off)",
        ],
        figures=[("slimming", "Points of top-1 by which slimming is ahead of simpler methods, with 95 % intervals")],
    )


def slimming_figure() -> str:
    records = slimming_records()
    rows = []
    for name, label in METHODS.items():
        points = [
            Point(found["ahead"][name]["points"], number, tuple(found["ahead"][name]["interval"]))
            for number, found in enumerate(records.values())
        ]
        rows.append(Row(f"over {label}", points, records["even"]["ahead"][name]["bar"]))
    return draw_rows(
        rows,
        (-4, 5),
        range(-4, 6),
        "Top-1 of slimmed networks over simpler methods at equal measured latency",
        "points of top-1, mean over seeds with 95 % interval; dashed: bar",
        [(number, PATHS[drawn]) for number, drawn in enumerate(records)],
        row_height=44,
    )


def ranking_question() -> Question:
    (_, found), (_, even) = kept("supernets", "cifar10_32k")[-1], kept("ranking", "cifar10_32k")[-1]
    rows: list[list[str]] = [
        ["paths drawn", "epochs", "supernets", "correlation, likelihood", "top-1", "tau, likelihood"]
    ]
    usual = [row for row in found["rows"] if "other" not in row]
    for drawn, epochs in dict.fromkeys((row["drawn"], row["epochs"]) for row in usual):
        same = [row for row in usual if (row["drawn"], row["epochs"]) == (drawn, epochs)]
        by = [
            span([row[score][figure] for row in same], 2, "")
            for score, figure in (("likelihood", "correlation"), ("top1", "correlation"), ("likelihood", "tau"))
        ]
        rows.append([drawn, str(epochs), str(len(same)), *by])
    taus = [row["likelihood"]["kendall_tau"] for row in even["rows"]]
    of_v2 = [row["likelihood"]["kendall_tau"] for row in kept("ranking", "cifar10_40k")[-1][1]["rows"]]
    answer = (
        f"Kendall's tau between its likelihood and top-1 after training alone is {span(taus, 2, '')} for {len(taus)} "
        f"supernets on 24 random networks (bar 0.6, aim 0.8), and {span(of_v2, 2, '')} for {len(of_v2)} of "
        "EfficientFormerV2's blocks on 20 (bar 0.7); at equal latency agreement depends on the sampling:"
    )
    return Question(
        "Does the supernet rank networks as training does?",
        answer,
        ["ranking", "supernets", "judging"],
        [
            "2026-11-27: paths drawn evenly (adopted)",
            "2026-11-29: ranking in V2's space: one network a step or four, sorted channels (held)",
            "2026-11-27: ranking with evenly drawn paths (held)",
            "2026-11-26: likelihood instead of top-1 (adopted)",
        ],
        table=rows,
    )


def cost_question() -> Question:
    head = [
        "L7's space",
        "machine",
        "one path's step over the largest",
        "table",
        "three budgets",
        "second runtime",
        "peak",
    ]
    rows, ratios = [head], []
    for subject in ("imagenet_64px", "imagenet_224px"):
        for name, found in kept("search_cost", subject):
            phases = found["phases"]
            ratios.append(found["single over largest"])
            peak = max(phase["peak_memory_gib"] for phase in phases.values())
            times = [duration(phases.get(phase)) for phase in ("table", "slim", "second slim")]
            pixels = f"{found['setting']['resolution']} px"
            rows.append([pixels, short_title(name.machine), f"{ratios[-1]:.2f}", *times, f"{peak:.1f} GiB"])
    answer = (
        f"On two CPU cores one path's training step takes {span(ratios, 2, '')} times the largest network's (bar 1.5); "
        "slimming to three budgets, with 100 images per candidate at 64 px and 16 at 224 px, takes:"
    )
    return Question(
        "What does the search cost?",
        answer,
        ["search_cost", "strides"],
        [
            "2026-11-27: slimming from L7's size, fourth time: a second device in a minute (held)",
            "2026-11-26: L7's size at 224 px on two cores (record kept)",
        ],
        table=rows,
    )


def duration(phase: dict | None) -> str:
    """Seconds of a phase; none for a phase that was done already."""
    if phase is None or phase["was_done"]:
        return "-"
    seconds = phase["process_seconds"]
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.1f} min"
