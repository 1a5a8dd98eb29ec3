"""Verb `evaluate`."""

from pathlib import Path

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def evaluate(
    model: Path | None = None, /, *, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()
) -> None:
    """Score the trained networks on the validation images: top-1, top-5, per class, confusion matrix.

    Of masks and boxes the IoU or average precision of every class is printed. An exported file alone is scored in ONNX
    Runtime, on the validation images of its run or of --data.

    For example:

        efficientformer evaluate --run-dir runs/photos --json
        efficientformer evaluate runs/streets/networks/l1/model.onnx
        efficientformer evaluate model.onnx --data camvid --semantic.sliding

    Parameters
    ----------
    model
        A model.onnx that `export` wrote.
    """
    from efficientformer.cli.printing import print_rows
    from efficientformer.pipeline import verbs
    from efficientformer.report.class_scores import evaluation_table

    records = verbs.evaluate(settings, model=model, **options.place)
    if options.json:
        options.show(records)
    elif records is not None:
        evaluations = {record.get("network") or Path(record["file"]).name: record for record in records}
        print_rows(*evaluation_table(evaluations), wide=True)
