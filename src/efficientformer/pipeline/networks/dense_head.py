"""The head of a run's task: a classifier's, or one that reads the maps of several stages."""

from dataclasses import replace

from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.arch.spec import Architecture
from efficientformer.pipeline.run.workspace import Workspace


def with_task_head(workspace: Workspace, architecture: Architecture) -> Architecture:
    """The architecture with a head of the run's task: its own where it is one, else a new one by the settings."""
    head, own, settings = None, architecture.head, workspace.settings
    match workspace.dataset.task:
        case "semantic":
            asked = settings.semantic
            head = own if isinstance(own, SemanticFpn) else SemanticFpn(asked.fpn_width, asked.width)
        case "detection":
            wanted = settings.detection
            head = own if isinstance(own, OneStage) else OneStage(wanted.fpn_width, wanted.width, wanted.depth)
    return architecture if own == head else replace(architecture, head=head)
