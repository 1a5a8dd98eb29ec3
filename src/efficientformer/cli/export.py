"""Verb `export`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def export(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Write the trained networks as ONNX in deploy form, and compare their outputs with PyTorch.

    Class names and preprocessing are stored in the file.

    For example:

        efficientformer export --run-dir runs/photos
        efficientformer export --run-dir runs/photos --export.dynamic-batch
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.export(settings, **options.place))
