"""The head of a run's task: a classifier's, or one that reads the maps of several stages."""

from dataclasses import replace

from efficientformer.arch.dense import DenseHead, SemanticFpn
from efficientformer.arch.spec import Architecture
from efficientformer.pipeline.run.workspace import Workspace


def with_task_head(workspace: Workspace, architecture: Architecture) -> Architecture:
    """The architecture with a head of the run's task: its own where it is one, else a new one by the settings."""
    head: DenseHead | None = None
    if workspace.dataset.task == "semantic":
        settings = workspace.settings.semantic
        is_own = isinstance(architecture.head, SemanticFpn)
        head = architecture.head if is_own else SemanticFpn(settings.fpn_width, settings.width)
    return architecture if architecture.head == head else replace(architecture, head=head)
