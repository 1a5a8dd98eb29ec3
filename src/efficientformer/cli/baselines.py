"""Verb `baselines`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def baselines(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Compare slimming with simpler search methods at equal latency, all scored with the supernet's weights.

    The methods are random networks, EfficientFormer-L1 scaled, slimming by multiply-accumulates, evolution with ten
    times the evaluations, and the exact optimum of an additive surrogate, which bounds the loss of a greedy descent.
    Run `slim` first. Scores are kept, so after an interruption the same command resumes.

    For example:

        efficientformer baselines --run-dir runs/photos
        efficientformer baselines --run-dir runs/photos --baselines.random 200 --baselines.evolution 0 --json
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.baselines(settings, **options.place))
