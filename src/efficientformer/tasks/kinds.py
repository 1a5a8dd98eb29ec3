"""The tasks by name."""

from efficientformer.formats.values import TaskName
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.kind import TaskKind

KINDS: dict[TaskName, TaskKind] = {"classification": ONE_LABEL}
