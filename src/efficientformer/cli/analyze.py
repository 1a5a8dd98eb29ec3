"""Verb `analyze`."""

from typing import Annotated

from cyclopts import Parameter

from efficientformer.cli.options import JsonOption, OutOption
from efficientformer.cli.printing import print_json, print_lines, print_rows
from efficientformer.pipeline.settings.analyze import OUT, AnalysisSettings

SettingsOption = Annotated[AnalysisSettings, Parameter(name="*", negative_iterable=())]


def analyze(*, settings: SettingsOption = AnalysisSettings(), out: OutOption = OUT, json: JsonOption = False) -> None:
    """Test the paper's observations about latency on a device, time a space's choices, and profile known networks.

    The four observations are about patch embeddings, attention and its reshapes, norms and activations; the choices of
    a search space about activation, expansions, fused MBConv and stem strides. Each is a controlled experiment on
    single parts and in whole networks: every ratio has an interval, which gives the verdict. Writes analysis.json and
    analysis.html. After an interruption the same command resumes.

    For example:

        efficientformer analyze --runtime onnxruntime --runtime openvino --out runs/analysis
        efficientformer analyze --runtime onnxruntime --device ssh:pi@board --observation 4 --network efficientformer_l1
        efficientformer analyze --choice activation --choice expansion --resolution 128

    Parameters
    ----------
    out: Path
        Folder of analysis.json and analysis.html.
    json: bool
        Print the record as one JSON document.
    """
    from efficientformer.pipeline.analyze import analyze as run_analysis
    from efficientformer.pipeline.analyze import choice_lines, summary_lines
    from efficientformer.report.analysis.page import PAGE_NAME

    record = run_analysis(settings, out=out)
    if json:
        print_json(record)
    else:
        print_rows(("the paper says", "runtime", "here", "ratios"), summary_lines(record))
        print_rows(("choice of a space", "runtime", "here"), choice_lines(record))
        print_lines([f"Page: {out / PAGE_NAME}"])
