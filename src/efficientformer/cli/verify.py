"""Verb `verify`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def verify(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Measure the exported files, interleaved with the largest network, and check every promise.

    The files are opened anew in several sessions, in new processes where the runtime allows it. The interval is of the
    median over processes. Sessions of earlier commands on the same files count as well.

    For example:

        efficientformer verify --verify.rounds 200 --run-dir runs/photos
    """
    from efficientformer.pipeline import verbs

    try:
        options.show(verbs.verify(settings, **options.place))
    except verbs.BrokenPromiseError as broken:
        options.show(broken.result)
        raise
