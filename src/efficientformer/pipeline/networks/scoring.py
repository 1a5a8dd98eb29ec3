"""How an evaluation scores, where settings change it."""

from efficientformer.arch.parts import Grid
from efficientformer.pipeline.run.settings import Settings
from efficientformer.tasks.kind import TaskKind
from efficientformer.tasks.semantic.kind import Semantic
from efficientformer.tasks.semantic.sliding import SlidingSemantic


def scoring_kind(kind: TaskKind, settings: Settings, grid: Grid) -> TaskKind:
    """The task as an evaluation scores it: with semantic.sliding in windows of the size `grid`."""
    return SlidingSemantic(grid) if isinstance(kind, Semantic) and settings.semantic.sliding else kind
