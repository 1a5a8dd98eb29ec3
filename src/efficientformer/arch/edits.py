"""The three ways an architecture gets smaller (paper, section 4.2): each returns a new value."""

from dataclasses import replace

from efficientformer.arch.spec import MB4D, Architecture, Stage
from efficientformer.errors import ArchitectureError


def drop_block(architecture: Architecture, stage_index: int, block_index: int) -> Architecture:
    """Replace one block by identity. Raises ArchitectureError when the stage has no other."""
    stage = architecture.stages[stage_index]
    if stage.depth == 1:
        raise ArchitectureError(f"Stage {stage_index + 1} keeps its only block.")
    blocks = stage.blocks[:block_index] + stage.blocks[block_index + 1 :]
    return architecture.with_stage(stage_index, replace(stage, blocks=blocks))


def first_mb3d(architecture: Architecture) -> tuple[int, int] | None:
    """(stage index, block index) of the earliest MB3D in network order, or None."""
    for stage_index, stage in enumerate(architecture.stages):
        if stage.num_mb3d:
            return stage_index, stage.depth - stage.num_mb3d
    return None


def remove_first_mb3d(architecture: Architecture, mb4d: MB4D = MB4D()) -> Architecture:
    """Replace the earliest MB3D by an MB4D. Raises ArchitectureError when there is none."""
    position = first_mb3d(architecture)
    if position is None:
        raise ArchitectureError("There is no MB3D left to remove.")
    stage_index, block_index = position
    stage = architecture.stages[stage_index]
    blocks = (*stage.blocks[:block_index], mb4d, *stage.blocks[block_index + 1 :])
    return architecture.with_stage(stage_index, replace(stage, blocks=blocks))


def narrow_stage(architecture: Architecture, stage_index: int, by: int = 16) -> Architecture:
    """Remove `by` channels from a stage. Raises ArchitectureError when the remaining width is not allowed."""
    stage = architecture.stages[stage_index]
    return architecture.with_stage(stage_index, Stage(stage.width - by, stage.blocks))
