"""Questions about latency: tables, their conditions, repeatability, and our exported networks against timm's."""

import statistics
from collections.abc import Sequence

from answers.evidence import (
    RUNTIMES,
    Question,
    Run,
    counted,
    errors,
    held,
    kept,
    legend,
    marks,
    runs,
    short_title,
    span,
)
from drawing import Point, Row, draw_panels, draw_predictions, draw_rows
from studies.naming import machines

FINE, COARSE, SPREAD_BAR = 3.0, 7.0, 2.0


def table_question() -> Question:
    ort, openvino = runs("table_accuracy", "onnxruntime"), runs("table_accuracy", "openvino")
    held_bars = f"{held(errors(ort), FINE)} and {held(errors(openvino), FINE)} hold the bar of {FINE:g} %"
    answer = (
        f"On one thread its mean error on 100 unseen networks is {span(errors(ort))} with ONNX Runtime "
        f"({counted(ort)}) and {span(errors(openvino))} with OpenVINO ({counted(openvino)}): {held_bars}; affine MACs "
        f"err by {span(errors(ort + openvino, 'macs'))}."
    )
    return Question(
        "Does a latency table predict networks it has not seen?",
        answer,
        ["table_accuracy"],
        [
            "2026-11-27: the Xeon quiet and under load, in one evening (missed in part)",
            "2026-11-27: weights that miss a cache (adopted)",
            "2026-11-25: Zen 3 quiet and under load (quiet missed, load held)",
        ],
        figures=[("predicted", "Measured against predicted latency, newest run of each runtime and machine")],
    )


def predicted_figure() -> str:
    panels = []
    for subject in ("onnxruntime", "openvino"):
        newest = {name.machine: found for name, found in kept("table_accuracy", subject)}
        panels.append(
            [
                (
                    panel_title(subject, machine, newest[machine]),
                    marks()[machine],
                    [(net["predicted_ms"], net["measured_ms"]) for net in newest[machine]["unseen"]["networks"]],
                )
                for machine in machines()
                if machine in newest
            ]
        )
    return draw_predictions(panels, "Measured latency against its prediction, 100 unseen networks in each panel")


def panel_title(subject: str, machine: str, found: dict) -> str:
    return f"{RUNTIMES[subject]}, {short_title(machine)}: {found['unseen']['error']['mean_percent']:.1f} %"


CONDITIONS: Sequence[tuple[str, str, tuple[str, ...], float]] = (
    ("ONNX Runtime", "onnxruntime", (), FINE),
    ("OpenVINO", "openvino", (), FINE),
    ("ONNX Runtime, V2's space", "onnxruntime_v2_imagenet_224px", (), FINE),
    ("ONNX Runtime, under load", "onnxruntime", ("loaded",), FINE),
    ("OpenVINO, under load", "openvino", ("loaded",), FINE),
    ("ONNX Runtime, two threads", "onnxruntime", ("2t",), COARSE),
    ("OpenVINO, two threads", "openvino", ("2t",), COARSE),
    ("MNN", "mnn", (), COARSE),
    ("ncnn", "ncnn", (), COARSE),
    ("torch.compile, 128 px", "torch_compile_standard_128px", (), COARSE),
    ("torch.compile, 64 px", "torch_compile_quick_64px", (), COARSE),
)


def condition_runs(subject: str, conditions: tuple[str, ...]) -> tuple[list[Run], list[Run]]:
    """Runs alone on the machine, and runs on one core next to other work. The pair that was measured side by side to
    show what that spoils is left out."""
    shared = [] if subject in ("onnxruntime", "openvino") else runs("table_accuracy", subject, *conditions, "1core")
    return runs("table_accuracy", subject, *conditions), shared


def conditions_question() -> Question:
    def words(subject: str, *conditions: str) -> str:
        alone, shared = condition_runs(subject, conditions)
        return span(errors(alone + shared))

    answer = (
        f"Under load its error is {words('onnxruntime', 'loaded')} with ONNX Runtime and "
        f"{words('openvino', 'loaded')} with OpenVINO; on two threads {words('onnxruntime', '2t')} and "
        f"{words('openvino', '2t')}; with MNN {words('mnn')}, ncnn {words('ncnn')}, torch.compile "
        f"{words('torch_compile_standard_128px')} at 128 px and {words('torch_compile_quick_64px')} on tiny networks."
    )
    return Question(
        "And under load, on two threads, with other runtimes?",
        answer,
        ["table_accuracy"],
        [
            "2026-11-25: OpenVINO on two threads, five runs (missed as measured)",
            "2026-11-27: OpenVINO on two threads in a busy hour (missed as measured)",
            "2026-11-25: other runtimes and two threads (torch.compile missed on tiny networks)",
        ],
        figures=[("table_error", "Mean error of tables per run, condition and machine, with the project's bars")],
    )


def table_error_figure() -> str:
    rows, used = [], set()
    for label, subject, conditions, bar in CONDITIONS:
        alone, shared = condition_runs(subject, conditions)
        values = errors(alone + shared)
        used |= {run.machine for run in alone + shared}
        points = [
            Point(run.found["unseen"]["error"]["mean_percent"], marks()[run.machine], is_open=run in shared)
            for run in alone + shared
        ]
        rows.append(Row(f"{label} ({len(values)})", points, bar, statistics.median(values)))
    return draw_rows(
        rows,
        (0, 12),
        range(0, 13, 2),
        "Mean error of tables on unseen networks",
        "mean error in %, a mark per run; black: median, dashed: bar, pale: beside other work",
        legend(used),
    )


def repeatability_question() -> Question:
    rows, texts = [], []
    every = runs("repeatability", "efficientformer_l1")
    for machine in machines():
        found = [run.found["runtimes"] for run in every if run.machine == machine]
        if found:
            spreads = {rt: [row[rt]["p50_spread_percent"] for row in found] for rt in ("onnxruntime", "openvino")}
            ratios = [row[rt]["ratio_spread_percent"] for row in found for rt in spreads]
            both = [value for values in spreads.values() for value in values]
            rows.append(
                [
                    short_title(machine),
                    str(len(found)),
                    *map(span, spreads.values()),
                    span(ratios),
                    held(both, SPREAD_BAR),
                ]
            )
            texts.append(f"{span(both)} on {short_title(machine)}")
    answer = f"Ten processes differ by {' and by '.join(texts)}, slowest over fastest; the bar is {SPREAD_BAR:g} %."
    head = ["EfficientFormer-L1", "runs", "ONNX Runtime", "OpenVINO", "ratio to a smaller network", "bar held"]
    return Question(
        "Is a latency the same in every process?",
        answer,
        ["repeatability"],
        [
            "2026-11-27: what repeats in a busy hour: calmest half or calm windows (half kept)",
            "2026-11-22: what a median is taken of (3 % of the fastest level, adopted)",
        ],
        table=[head, *rows],
    )


NETWORKS = {
    "efficientformer_l1": "L1",
    "efficientformer_l3": "L3",
    "efficientformer_l7": "L7",
    "efficientformerv2_s0": "V2-S0",
    "efficientformerv2_s1": "V2-S1",
    "efficientformerv2_s2": "V2-S2",
    "efficientformerv2_l": "V2-L",
}


def timm_rows(subject: str, *conditions: str) -> list[tuple[str, dict]]:
    """Rows of every machine's newest record, each with its machine."""
    newest = {name.machine: found for name, found in kept("against_timm", subject, None, *conditions)}
    rows = [(machine, row) for machine, found in newest.items() for row in found["rows"]]
    return sorted(rows, key=lambda pair: (marks()[pair[0]], pair[1]["threads"]))


def timm_question() -> Question:
    cpu, gpu, steps = timm_rows("inference"), timm_rows("inference", "cuda"), timm_rows("training")
    slower = sum(row["interval"][0] > 1 for _, row in cpu + gpu + steps)
    parts = [span([row["ratio"] for _, row in rows], 2, "") for rows in (cpu, gpu, steps)]
    answer = (
        f"Ours over timm's, same network and weights, is {parts[0]} on CPUs, {parts[1]} as CUDA graphs and {parts[2]} "
        f"for training steps; {slower} of {len(cpu + gpu + steps)} pairs are slower by more than the interval."
    )
    return Question(
        "Are our networks slower than timm's?",
        answer,
        ["against_timm"],
        [
            "2026-11-26: ours against timm's on the Xeon (nothing slower)",
            "2026-11-26: ours against timm's on Zen 3 and an H100 (nothing slower)",
        ],
        figures=[("against_timm", "Latency of our exported networks over timm's, with 95 % intervals")],
    )


def timm_figure() -> str:
    every = timm_rows("inference") + timm_rows("inference", "cuda")
    panels = []
    for runtime, title in RUNTIMES.items():
        rows = [(machine, row) for machine, row in every if row["runtime"] == runtime]
        panels.append(
            (
                title,
                [
                    Row(label, [timm_point(machine, row) for machine, row in rows if row["network"] == network])
                    for network, label in NETWORKS.items()
                ],
            )
        )
    words = "our latency over timm's with 95 % interval; pale: two threads"
    return draw_panels(panels, (0.7, 1.2), (0.8, 0.9, 1.0, 1.1), words, words, legend(machine for machine, _ in every))


def timm_point(machine: str, row: dict) -> Point:
    low, high = row["interval"]
    return Point(row["ratio"], marks()[machine], (low, high), is_open=row["threads"] > 1)
