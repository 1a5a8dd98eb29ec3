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
    """Score the trained networks on the validation images: top-1, top-5, calibration, per class, confusion matrix.

    Of masks and boxes the IoU or average precision of every class is printed. An exported file alone is scored in ONNX
    Runtime or OpenVINO, a file of weights or a published network in PyTorch, on the validation images of its run or of
    --data. Classes are found by name, those of ImageNet by number or name, so that a part of its folders is enough.

    For example:

        efficientformer evaluate --run-dir runs/photos --json
        efficientformer evaluate runs/streets/networks/l1/model.onnx
        efficientformer evaluate model.onnx --data camvid --semantic.sliding
        efficientformer evaluate model.xml --data photos
        efficientformer evaluate efficientformerv2_s0 --data imagenet-a

    Parameters
    ----------
    model
        A model.onnx that `export` wrote, or a model.xml of it; a weights file; or the name of a published network.
    weights
        File of the published network's weights, with any names of tensors; downloaded by default.
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
