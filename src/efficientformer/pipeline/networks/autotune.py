"""Measure the exact deploy forms of a network, and choose the fastest on the run's runtime."""

from typing import Any

from efficientformer.latency.timing.measure_networks import MIN_ROUNDS, Subject, measure_networks
from efficientformer.models.deploy.forms import DeployForms, forms_of
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.pipeline.run.workspace import Workspace

USUAL = "usual"


def fastest_forms(workspace: Workspace, network: Network) -> tuple[DeployForms, dict[str, Any]]:
    """The forms to export `network` in, and a record of the comparison.

    The runtime's usual forms are kept unless the whole 95 % interval of another's ratio to them is below 1.
    """
    runtime, settings = workspace.runtime, workspace.settings
    shape = workspace.input_shape
    usual = forms_of(runtime.name)
    if not settings.export.autotune:
        return usual, {"forms": usual.to_json()}
    forms = {USUAL: usual} | {str(other): other for other in usual.others(network.architecture)}
    subjects = {
        name: Subject(runtime.prepare(fuse(network, form), shape), runtime, shape) for name, form in forms.items()
    }
    with workspace.console.progress("comparing forms") as progress:
        measured = measure_networks(
            subjects, settings.latency_clock, MIN_ROUNDS, reference=USUAL, seed=settings.seed, progress=progress
        )
    ratios = {name: result.ratio for name, result in measured.items() if result.ratio is not None}
    faster = [name for name, ratio in ratios.items() if name != USUAL and ratio.interval[1] < 1]
    chosen = forms[min(faster, key=lambda name: ratios[name].p50, default=USUAL)]
    compared = [
        {"forms": forms[name].to_json(), "ratio": ratio.p50, "interval": list(ratio.interval)}
        for name, ratio in ratios.items()
    ]
    return chosen, {"forms": chosen.to_json(), "compared": compared}
