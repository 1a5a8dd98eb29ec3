"""All phases in order, repeated until every network is measured to be within its budget."""

from typing import Any

from efficientformer.pipeline.networks.elastic import require_elastic
from efficientformer.pipeline.networks.parent import require_parent
from efficientformer.pipeline.networks.teaching import require_teacher
from efficientformer.pipeline.networks.trained import require_crop
from efficientformer.pipeline.phases import evaluate, export, reference, slim, supernet, table, train, verify
from efficientformer.pipeline.references.require import require_best, require_reference
from efficientformer.pipeline.report import write_report
from efficientformer.pipeline.run.fit_images import require_compiled, require_mixing
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.result import collect_result
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.oracles import require_reachable

MAX_ROUNDS = 3


def run_phases(workspace: Workspace) -> list[dict[str, Any]]:
    """From images and budgets to exported networks; returns one entry per budget (see `collect_result`).

    Records of earlier runs in the run directory are used if their settings and inputs are the same.
    """
    require_mixing(workspace)
    require_compiled(workspace, workspace.settings.train)
    if workspace.settings.parent.init is not None:
        require_compiled(workspace, workspace.settings.parent)
    require_crop(workspace)
    require_teacher(workspace)
    require_parent(workspace)
    require_elastic(workspace)
    require_reference(workspace)
    supernet.require_source(workspace)
    table.run(workspace)
    if workspace.settings.data and workspace.settings.parent.init is None:
        workspace.console.say(
            "networks start from new weights; on photographs those of a published network usually do better: "
            "design --init efficientformerv2_s0"
        )
    measured = load_table(workspace)
    require_reachable(workspace, measured)
    require_best(workspace, measured.largest.measured_ms)
    supernet.run(workspace)
    for round_index in range(MAX_ROUNDS):
        slim.run(workspace)
        train.run(workspace)
        evaluate.run(workspace)
        export.run(workspace)
        reference.run(workspace)
        if verify.run(workspace) or round_index == MAX_ROUNDS - 1:
            break
        verify.correct_broken(workspace)
    result = collect_result(workspace.run_dir)
    path = write_report(workspace.run_dir.root)
    workspace.console.phase("report", str(path))
    return result
