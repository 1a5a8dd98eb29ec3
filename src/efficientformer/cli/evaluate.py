"""Verb `evaluate`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def evaluate(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Score the trained networks on the validation images: top-1, top-5, per class, confusion matrix.

    For example:

        efficientformer evaluate --run-dir runs/photos --json
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.evaluate(settings, **options.place))
