"""Verb `baselines`."""

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def baselines(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """Hold slimming against simpler ways to networks of the same latency, all judged by the supernet.

    Random networks, EfficientFormer-L1 scaled, slimming by multiply-accumulates, evolution with ten times the
    evaluations, and the exact optimum of an additive surrogate, which tells how far a greedy descent can be from the
    best. Needs `slim` before it. Every network is judged once, so an interrupted command goes on.

    For example:

        efficientformer baselines --run-dir runs/photos
        efficientformer baselines --run-dir runs/photos --baselines.random 200 --baselines.evolution 0 --json
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.baselines(settings, **options.place))
