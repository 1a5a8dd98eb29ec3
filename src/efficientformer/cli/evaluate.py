"""Verb `evaluate`."""

from pathlib import Path

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def evaluate(
    model: Path | None = None, /, *, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()
) -> None:
    """Score the trained networks on the validation images: top-1, top-5, per class, confusion matrix.

    An exported file alone is scored in ONNX Runtime, on the validation images of its run or of --data.

    For example:

        efficientformer evaluate --run-dir runs/photos --json
        efficientformer evaluate runs/streets/networks/l1/model.onnx
        efficientformer evaluate model.onnx --data camvid --semantic.sliding

    Parameters
    ----------
    model
        A model.onnx that `export` wrote.
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.evaluate(settings, model=model, **options.place))
