"""The inputs of phases, as digests: files of the run, its images, the device, and values that follow from them."""

import json
from collections.abc import Iterable
from pathlib import Path

from efficientformer import __version__
from efficientformer.analysis.shortlist.kept import find_shortlist
from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import RecordError
from efficientformer.formats.run import DataRecord
from efficientformer.formats.shortlist import ShortlistRecord
from efficientformer.pipeline.run.corrections import read_corrections
from efficientformer.pipeline.run.phase import Digests, Input
from efficientformer.pipeline.run.run_network import RunNetwork, read_found, read_references, reference_names
from efficientformer.pipeline.run.settings import BEST
from efficientformer.pipeline.run.stamps import MISSING, NOT_TAKEN, read_stamp
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.provenance import FINGERPRINT
from efficientformer.reading import read_record
from efficientformer.records import digest, file_digest
from efficientformer.run_dir import RunDir
from efficientformer.tasks.teacher_source import TeacherSource
from efficientformer.tasks.words import task_words

START_WEIGHTS = "the weights to start from"
"""The input of a training that goes on from weights of a file."""
USUAL_GRID = (224, 224)
"""The input size at which a shortlist of networks at their own sizes is one of networks at a common size."""


def file(name: str) -> Input:
    """A file of the run, by its name in `RunDir`."""
    return Input(lambda workspace, _: file_digests(workspace, name))


def network_file(name: str) -> Input:
    """A file of the network, by its name in `NetworkFiles`."""

    def read(workspace: Workspace, network: RunNetwork | None) -> Digests:
        assert network is not None
        return _digests(workspace, [getattr(network.files, name)])

    return Input(read)


def file_digests(workspace: Workspace, *names: str) -> Digests:
    """Digests of files, given by their names in `RunDir`."""
    return _digests(workspace, [getattr(workspace.run_dir, name) for name in names])


def supernet_digests(workspace: Workspace) -> Digests:
    """What the weights of subnets depend on: the trained supernet, and the order of its channels."""
    return file_digests(workspace, "supernet_weights") | {
        "the order of the supernet's channels": workspace.settings.slim.channels
    }


def version_digests(workspace: Workspace, version: str) -> Digests:
    """The weights of the supernet after a training on the way down, by their name."""
    return _digests(workspace, [workspace.run_dir.recovered(version)])


def _digests(workspace: Workspace, paths: Iterable[Path]) -> Digests:
    """Digests of files by their paths in the run directory; `MISSING` for a file that is not there."""
    return {str(path.relative_to(workspace.run_dir.root)): _digest_if_there(path) for path in paths}


def _digest_if_there(path: Path) -> str:
    return file_digest(path) if path.is_file() else MISSING


def image_digests(workspace: Workspace) -> Digests:
    return _image_digests(workspace.dataset.digest, workspace.dataset.split_rule)


def kept_shortlist(workspace: Workspace) -> ShortlistRecord | None:
    """The last shortlist of the run's device at the run's input size, or None.

    Raises RecordError for a damaged one, EfficientFormerError for a user without a home folder.
    """
    settings, runtime, grid = workspace.settings, workspace.runtime, grid_of_input(workspace.settings.resolution)
    kept = find_shortlist(runtime.machine(), runtime.describe(), settings.threads, settings.latency_clock, grid)
    return kept if kept is None or kept["resolution"] is not None or grid == USUAL_GRID else None


def recorded_image_digests(run_dir: RunDir) -> Digests:
    """The same of the images that the run read last, from its records; empty before."""
    try:
        record = read_record(run_dir.data, DataRecord)
    except RecordError:
        return {}
    return _image_digests(record.get("digest", ""), record.get("split_rule", ""))


def _image_digests(content: str, split_rule: str) -> Digests:
    return {"the images": digest([content, split_rule])}


def device_digests(workspace: Workspace) -> Digests:
    """Digest of the device, the runtime and its version: a measurement is valid for these."""
    here = workspace.runtime.machine()
    return {"this device": digest([{name: here[name] for name in FINGERPRINT}, workspace.runtime.describe()])}


def export_metadata(workspace: Workspace, network: RunNetwork) -> dict[str, str]:
    """Metadata of an exported file."""
    return {
        "classes": json.dumps(list(workspace.dataset.classes), ensure_ascii=False),
        **task_words(workspace.dataset.task).metadata,
        "preprocessing": json.dumps(workspace.scored_preprocessing.to_json()),
        **({} if network.architecture is None else {"architecture": json.dumps(network.architecture.to_json())}),
        **network.about,
        "producer": f"efficientformer {__version__}",
    }


def weights_metadata(workspace: Workspace) -> dict[str, str]:
    """Metadata of a weights file on the run's classes, each as JSON."""
    classes, task = list(workspace.dataset.classes), task_words(workspace.dataset.task).metadata
    return {name: json.dumps(value, ensure_ascii=False) for name, value in {"classes": classes, **task}.items()}


def _source(workspace: Workspace, _: RunNetwork | None) -> Digests:
    """The supernet of the run that it is taken from. Once taken, it does not have to be there any more."""
    source, prefix = workspace.settings.supernet_from, "the supernet of "
    taken = (read_stamp(workspace.run_dir.stamp("supernet")) or {"inputs": {}})["inputs"]
    if source is None:
        return {name: NOT_TAKEN for name in taken if name.startswith(prefix)}
    name, weights = f"{prefix}{source}", RunDir(Path(source)).supernet_weights
    return {name: file_digest(weights) if weights.exists() else taken.get(name, MISSING)}


def teacher(phase: str) -> Input:
    """The teacher of a training: of a file its content, else its name. Once used, it does not have to be there."""

    def read(workspace: Workspace, network: RunNetwork | None) -> Digests:
        text = workspace.teacher
        return _used(workspace, phase, network, "the teacher", None if text is None else _teacher_digest(text))

    return Input(read)


def unlabelled(phase: str) -> Input:
    """The photographs without labels that a training learns from."""

    def read(workspace: Workspace, network: RunNetwork | None) -> Digests:
        images = workspace.unlabelled
        return _used(workspace, phase, network, "the unlabelled images", None if images is None else images.digest)

    return Input(read, kind="images")


def training_digests(workspace: Workspace) -> Digests:
    """All of what networks learn from: images, unlabelled images, a teacher."""
    text, images = workspace.teacher, workspace.unlabelled
    return {
        **image_digests(workspace),
        **({} if text is None else {"the teacher": _teacher_digest(text)}),
        **({} if images is None else {"the unlabelled images": images.digest}),
    }


def _teacher_digest(text: str) -> str:
    source = TeacherSource.parse(text)
    if source.file is None:
        return text
    theirs = _digest_if_there(source.file)
    return theirs if theirs == MISSING else digest([source.name, theirs])


def _used(workspace: Workspace, phase: str, network: RunNetwork | None, name: str, now: str | None) -> Digests:
    """An input that a run may be without, by its name; what the finished phase used where it is gone by now."""
    stamp = phase if network is None else f"{phase} {network.name}"
    before = (read_stamp(workspace.run_dir.stamp(stamp)) or {"inputs": {}})["inputs"].get(name)
    if now is None:
        return {} if before is None else {name: NOT_TAKEN}
    return {name: before if now == MISSING and before is not None else now}


def _parent(workspace: Workspace, _: RunNetwork | None) -> Digests:
    """The weights that the parent starts from. Once read, they do not have to be there any more."""
    parent = workspace.settings.parent
    file = None if parent.init is None else parent.weights or parent.init
    # Published weights are downloaded: the name stands for them.
    now = file if file is None or file in ZOO else _digest_if_there(Path(file))
    return _used(workspace, "supernet", None, "the weights of the parent", now)


def _table_device(workspace: Workspace, _: RunNetwork | None) -> Digests:
    """With --table.allow-foreign, a table from another device counts as up to date."""
    made = read_stamp(workspace.run_dir.stamp("table"))
    if made is not None and workspace.settings.table.allow_foreign:
        return dict(made["inputs"])
    return device_digests(workspace)


def _start(_: Workspace, network: RunNetwork | None) -> Digests:
    assert network is not None
    return dict(network.starts_from)


def _metadata(workspace: Workspace, network: RunNetwork | None) -> Digests:
    assert network is not None
    return {"the metadata": digest(export_metadata(workspace, network))}


def _tuning_device(workspace: Workspace, _: RunNetwork | None) -> Digests:
    return device_digests(workspace) if workspace.settings.export.autotune else {}


def _exported_files(workspace: Workspace, _: RunNetwork | None) -> Digests:
    return _digests(workspace, [network.files.onnx for network in read_found(workspace.run_dir)])


def _found(workspace: Workspace, _: RunNetwork | None) -> Digests:
    found = read_found(workspace.run_dir)
    return {"what was found": digest([[net.budget.text, net.budget_ms, net.predicted_ms] for net in found])}


def _found_budgets(workspace: Workspace, _: RunNetwork | None) -> Digests:
    found = read_found(workspace.run_dir)
    return {"the budgets": digest([[network.budget.text, network.budget_ms] for network in found])}


def _shortlist(workspace: Workspace, _: RunNetwork | None) -> Digests:
    """The shortlist that references are chosen from. Once used, it does not have to be there."""
    if workspace.settings.reference != BEST:
        return {}
    kept = kept_shortlist(workspace)
    return _used(workspace, "reference", None, "the shortlist", MISSING if kept is None else digest(kept["networks"]))


def _references(workspace: Workspace, _: RunNetwork | None) -> Digests:
    rows, run_dir = read_references(workspace.run_dir), workspace.run_dir
    files = _digests(workspace, [run_dir.reference(name).onnx for name in reference_names(rows)])
    now = digest([[[row["slug"], row["name"]] for row in rows], files]) if files else None
    return _used(workspace, "verify", None, "the references", now)


IMAGE_SETTINGS = ("data", "task", "skip_bad", "val_fraction", "seed", "max_pixels")
DEVICE_SETTINGS = ("device", "device_program", "device_cores", "litert_python", "runtime", "threads")
IMAGES = Input(lambda workspace, _: image_digests(workspace), IMAGE_SETTINGS, "images")
CLASSES = Input(
    lambda workspace, _: {"the number of classes": str(len(workspace.dataset.classes))}, IMAGE_SETTINGS, "images"
)
DEVICE = Input(lambda workspace, _: device_digests(workspace), DEVICE_SETTINGS, "device")
TABLE_DEVICE = Input(_table_device, (*DEVICE_SETTINGS, "table.allow_foreign"), "device")
TUNING_DEVICE = Input(_tuning_device, (*DEVICE_SETTINGS, "clock"), "device")
PARENT = Input(_parent, ("parent.init", "parent.weights"), "source")
SOURCE = Input(_source, ("supernet_from",), "source")
START = Input(_start)
METADATA = Input(_metadata, (*IMAGE_SETTINGS, "crop"), "images")
EXPORTED_FILES = Input(_exported_files)
FOUND = Input(_found)
FOUND_BUDGETS = Input(_found_budgets)
SHORTLIST = Input(_shortlist, kind="device")
REFERENCES = Input(_references)
CORRECTIONS = Input(lambda workspace, _: {"the scale after verification": digest(read_corrections(workspace))})
