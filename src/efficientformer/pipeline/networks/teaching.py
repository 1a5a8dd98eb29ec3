"""The teacher of a run: opened before hours of work depend on it, and joined to the loss of a training."""

from typing import Any

from torch import nn

from efficientformer.errors import EfficientFormerError, UsageError
from efficientformer.models.network import Network
from efficientformer.pipeline.run.outputs import run_networks
from efficientformer.pipeline.run.plan import TRAIN
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.teacher import PARENT_AS_TEACHER, TeacherSettings
from efficientformer.pipeline.slimming.oracles import load_parent
from efficientformer.tasks.distillation import Distillation
from efficientformer.tasks.task import Task
from efficientformer.tasks.teacher_files import open_teacher
from efficientformer.tasks.teachers import Teacher


def run_teacher(workspace: Workspace, version: str | None = None) -> Teacher | None:
    """The teacher that the settings name. Raises UsageError for one of other classes or that cannot be had, RecordError
    for a file that cannot be used.

    version: of the supernet's weights, that its student was cut from.
    """
    text = workspace.teacher
    if text is not None and workspace.task.words.unsearched:
        raise UsageError(f"--teacher {text} has no student: {workspace.task.words.unsearched}")
    if text is not None and workspace.settings.train.teacher == PARENT_AS_TEACHER:
        return Teacher(load_parent(workspace, version))
    return None if text is None else _opened(workspace, text)


def require_teacher(workspace: Workspace) -> None:
    """Raises what `run_teacher` raises, and DataError for unlabelled images that cannot be used, unless all networks
    are trained by now: then neither is needed any more."""
    if workspace.teacher is None or _all_are_trained(workspace):
        return
    if workspace.settings.train.teacher != PARENT_AS_TEACHER:  # which is there after phase `supernet`
        run_teacher(workspace)
    workspace.console.say(f"teacher {workspace.settings.train.teacher}, {workspace.settings.train.distillation}")
    _ = workspace.unlabelled


def _all_are_trained(workspace: Workspace) -> bool:
    try:
        networks = run_networks(workspace)
    except EfficientFormerError:
        return False
    return all(TRAIN.problem(workspace, network) is None for network in networks)


def distilled(workspace: Workspace, task: Task, network: nn.Module, version: str | None = None) -> Distillation | None:
    """`task` with the run's teacher, or None without one. `version` as of `run_teacher`.

    A network of timm has neither a second head nor maps to compare: it learns the teacher's logits, as is said.
    """
    settings, kind = workspace.settings.train, workspace.settings.train.distillation
    if isinstance(network, Network) or workspace.teacher is None:
        teacher = run_teacher(workspace, version)
    else:
        teacher = _opened(workspace, workspace.teacher)
        if kind != "soft":
            workspace.console.say(f"distillation soft in place of {kind}, for which a network of timm has no parts")
            kind = "soft"
    if teacher is None:
        return None
    return Distillation(
        task,
        teacher,
        kind,
        weight=settings.distillation_weight,
        temperature=settings.temperature,
        task_kind=workspace.searched_task,
    )


def _opened(workspace: Workspace, text: str) -> Teacher:
    return open_teacher(text, workspace.dataset.classes, workspace.preprocessing, workspace.task.words.name)


def has_second_head(settings: TeacherSettings) -> bool:
    """Whether networks are trained with a head for the teacher's labels."""
    return settings.teacher is not None and settings.distillation == "hard"


def teacher_record(workspace: Workspace) -> dict[str, Any]:
    """What the record of a training keeps of its teacher; nothing without one."""
    settings, images = workspace.settings.train, workspace.unlabelled
    if settings.teacher is None:
        return {}
    unlabelled = {} if images is None else {"num_unlabelled": len(images.images)}
    return {"teacher": settings.teacher, "distillation": settings.distillation, **unlabelled}
