"""Trackers of a run's trainings, by its setting `track`."""

from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.trackers.open import TITLES, tracker_name, tracker_opener, viewed_with
from efficientformer.training.trackers.tracker import Guarded

TRACKED = ("supernet", "networks", "references")
"""Folders of trainings that are tracked. Others are brief ones of a search, of which there are many."""


def track(workspace: Workspace, log: MetricsLog) -> None:
    """Have the tracker of the settings show what the log of a training gets, and say once where."""
    run_dir = workspace.run_dir
    place = log.path.relative_to(run_dir.root)
    if place.parts[0] not in TRACKED:
        return
    name = tracker_name(workspace.settings.track)
    if name == "none":
        return
    training = (place.parent if place.stem == "metrics" else place.with_suffix("")).as_posix()
    title = f"{run_dir.root.resolve().name}/{training}"
    opener = tracker_opener(name, run_dir.events, training, title)
    log.tracker = Guarded(TITLES[name], opener, workspace.console.warn)
    workspace.console.say_once(f"curves: {viewed_with(name, run_dir.events)}")
