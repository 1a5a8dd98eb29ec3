"""The generated parts of the project's README: results of all machines, and the phases of a run."""

from pathlib import Path

from answers.evidence import Run, Table, counted, errors, runs, span
from answers.headline import l1_ratios, points_ahead
from answers.search import design_rows, design_share, slimming_records
from efficientformer.cli.help import PHASES_OF_VERBS
from efficientformer.pipeline.run.phase import Phase
from efficientformer.pipeline.run.plan import PHASES
from efficientformer.run_dir import RunDir

COLUMNS = ("images", "machine", "budget", "measured p50 ms [95 %]", "score", "whole run")


def result_rows() -> Table:
    """Designed networks, the newest of every task, in fewer columns than the page of the benchmarks has."""
    head, *rows = design_rows()
    columns = [head.index(name) for name in COLUMNS]
    return [[row[column] for column in columns] for row in (head, *rows)]


def result_bullets() -> str:
    """What was measured over all machines, also where others are ahead."""
    ort, openvino = (runs("table_accuracy", runtime) for runtime in ("onnxruntime", "openvino"))
    two = [error for runtime in ("onnxruntime", "openvino") for error in errors(runs("table_accuracy", runtime, "2t"))]
    kept, num_designs, share = design_share()
    ahead = slimming_records()["even"]["ahead"]
    mean, best = ahead["mean of random"], ahead["best of random"]
    low, high = best["interval"]
    bullets = [
        f"{kept} of {num_designs} designs (ONNX Runtime, one thread, CPU time) kept their budget, at {share} of it.",
        f"Tables predict 100 unseen networks with a mean error of {accuracy(ort)} with ONNX Runtime and "
        f"{accuracy(openvino)} with OpenVINO; on two threads {low_to_high(two)} %.",
        f"On CIFAR-10, designed networks beat the mean of 10 random networks of equal latency by {mean['points']:.1f} "
        f"points of top-1, the best of the ten by {best['points']:.1f} [{low:.1f}, {high:.1f}].",
        f"EfficientFormer-L1 takes {low_to_high(l1_ratios(), 2)} times as long as MobileNetV2 x1.4, which the paper "
        f"has equal on a phone; networks designed for MobileNetV2's latency in V2's space beat it by "
        f"{low_to_high(points_ahead(), 0)} points after 8 epochs on Imagenette.",
    ]
    return "\n".join(f"- {bullet}" for bullet in bullets)


def accuracy(found: list[Run]) -> str:
    """Range and median over the runs, and how many on how many machines these are."""
    return f"{span(errors(found)).removesuffix(')')}; {counted(found)})"


def low_to_high(values: list[float], digits: int = 1) -> str:
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def phase_rows() -> Table:
    """The phases of a run: name, what it does, its files in the run directory."""
    return [["verb", "what it does", "writes"], *([f"`{phase.name}`", does(phase), written(phase)] for phase in PHASES)]


def does(phase: Phase) -> str:
    return phase.does if phase in PHASES_OF_VERBS["design"] else f"{phase.does} (on request)"


def written(phase: Phase) -> str:
    """The first of the phase's files, which is what it is for."""
    run_dir = RunDir(Path())
    path = getattr(run_dir.network("*") if phase.each_network else run_dir, phase.writes[0])
    return f"`{path.as_posix()}`"
