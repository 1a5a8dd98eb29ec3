"""The tasks by name."""

from efficientformer.formats.values import TaskName
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.kind import TaskKind
from efficientformer.tasks.multi_label.kind import LABEL_SETS

KINDS: dict[TaskName, TaskKind] = {"classification": ONE_LABEL, "multi_label": LABEL_SETS}
