"""Which tasks have their labels in files at a path, by the names of these. No torch."""

from collections.abc import Callable, Mapping
from pathlib import Path

from efficientformer.data.boxes.layout import holds_boxes
from efficientformer.data.masks.layout import is_mask_folder
from efficientformer.formats.values import TaskName

LAYOUTS: Mapping[TaskName, Callable[[Path], bool]] = {"detection": holds_boxes, "semantic": is_mask_folder}


def dense_tasks_at(path: Path) -> list[TaskName]:
    """Masks, boxes, both, or neither: then classification reads the path."""
    return [name for name, is_at in LAYOUTS.items() if is_at(path)]
