"""Verb `evaluate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def evaluate(
    model: Path | None = None,
    /,
    *,
    weights: Annotated[Path | None, Parameter(name="--weights")] = None,
    options: RunOptions = RunOptions(),
    settings: SettingsOption = Settings(),
) -> None:
    """Score networks on the validation images: top-1, top-5, calibration, per class.

    Of masks and boxes every class is printed. A file alone is scored in ONNX Runtime, OpenVINO or, by its weights,
    PyTorch, on the images of its run or of --data. Classes are found by name, ImageNet's by number or name.

    For example:

        efficientformer evaluate --run-dir runs/photos --json
        efficientformer evaluate runs/streets/networks/l1/model.onnx
        efficientformer evaluate model.xml --data camvid --semantic.sliding
        efficientformer evaluate efficientformerv2_s0 --data imagenet-a

    Parameters
    ----------
    model
        model.onnx of a run, model.xml, a weights file, or a published network's name.
    weights
        File of the published network's weights.
    """
    from efficientformer.cli.printing import print_rows
    from efficientformer.pipeline import verbs
    from efficientformer.report.class_scores import evaluation_table

    records = verbs.evaluate(settings, model=model, weights=weights, **options.place)
    if options.json:
        options.show(records)
    elif records is not None:
        evaluations = {record.get("network") or Path(record["file"]).name: record for record in records}
        print_rows(*evaluation_table(evaluations), wide=True)
