"""The phases of a run, in order: what each depends on, reads and writes. No torch."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from efficientformer.arch.dense import OneStage
from efficientformer.latency.tables.table import FORMAT
from efficientformer.pipeline.run.inputs import (
    CLASSES,
    CORRECTIONS,
    DEVICE,
    DEVICE_SETTINGS,
    EXPORTED_FILES,
    FOUND,
    FOUND_BUDGETS,
    IMAGE_SETTINGS,
    IMAGES,
    METADATA,
    PARENT,
    REFERENCES,
    SHORTLIST,
    SOURCE,
    START,
    TABLE_DEVICE,
    TUNING_DEVICE,
    file,
    network_file,
    teacher,
    unlabelled,
)
from efficientformer.pipeline.run.phase import Phase
from efficientformer.pipeline.run.settings import BELOW_PARENT, is_path, leaves
from efficientformer.pipeline.run.stamps import chosen
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.training import OF_METAPATHS, OF_SLIMMABLE, UNUSED_BY_TRIALS
from efficientformer.tasks.words import task_words

TRAINING_MACHINE = ("workers", "training_threads", "training_device")
TABLE_CHECK = ("table.max_error", "table.allow_foreign", *DEVICE_SETTINGS)
OF_HEADS: dict[str, tuple[str, ...]] = {
    "semantic": ("semantic.fpn_width", "semantic.width"),
    "detection": ("detection.fpn_width", "detection.width", "detection.depth"),
    "instance": ("instance.fpn_width", "instance.width", "instance.box_width", "instance.proposals"),
}
"""By task, the settings of the head that a network without one gets."""
VERIFICATION_FORMAT = 2
"""1 was of a single session."""
TRACE_FORMAT = 3
"""Of the journal and the trace of slimming. Since 2, targets have steps of their own, and budgets name weights."""
WEIGHTS = ("supernet.held_out", "supernet.batch_norm")
SCORING = ("slim.images", "slim.bn_images", "slim.metric", *WEIGHTS)
ROUND = (
    *("parent.round_epochs", "parent.round_lr", "parent.batch_size", "parent.weight_decay", "parent.label_smoothing"),
    *("parent.augmentation", "parent.balance", "parent.precision", "parent.mixup", "parent.cutmix"),
    *(
        "parent.accumulate",
        "parent.schedule",
        "parent.clip_norm",
        "parent.agc",
        "parent.repeated",
        "parent.sync_batch_norm",
    ),
    "supernet.held_out",
)
"""Of the training between two rounds of slimming."""


def _clock(workspace: Workspace) -> Mapping[str, Any]:
    return {"clock": workspace.settings.latency_clock}


def _verification_facts(workspace: Workspace) -> Mapping[str, Any]:
    return {**_clock(workspace), "format": VERIFICATION_FORMAT}


def _space(workspace: Workspace) -> Mapping[str, Any]:
    """Of a space from a file its content: neither its place nor its name makes a difference. Of a dense task the heads
    of the space."""
    if is_path(workspace.settings.space) or workspace.settings.space == BELOW_PARENT:
        return {"space": {name: value for name, value in workspace.space.to_json().items() if name != "name"}}
    heads = workspace.space.head
    return {} if heads is None else {"head": heads.to_json()}


def _idle_of_supernet(workspace: Workspace) -> frozenset[str]:
    """With a parent no supernet is trained, though images are held out as for one; without, none is fine-tuned. The
    parent's file counts by its content."""
    parent = workspace.settings.parent
    if parent.init is not None:
        of_parent = ["parent.init", "parent.weights", "parent.round_epochs", "parent.round_lr"]
        of_parent += [] if parent.elastic_epochs else ["parent.elastic_lr"]
        return frozenset([*leaves("supernet"), *of_parent]) - {"supernet.held_out"}
    of_other_kind = OF_METAPATHS if workspace.named_space.is_v2 else OF_SLIMMABLE
    return frozenset([*leaves("parent"), *(f"supernet.{name}" for name in of_other_kind)])


def _idle_of_slim(workspace: Workspace) -> frozenset[str]:
    if workspace.settings.parent.init is None:
        return frozenset(ROUND)
    return frozenset() if workspace.settings.parent.has_rounds else frozenset(ROUND) - {"parent.round_epochs"}


def _table_facts(workspace: Workspace) -> Mapping[str, Any]:
    """Of boxes also what a table has of their decoding."""
    heads = workspace.space.head
    boxes = {"boxes": [OneStage.candidates, OneStage.detections]} if heads and heads.kind == OneStage.kind else {}
    return {**_clock(workspace), **_space(workspace), **boxes, "format": FORMAT}


def _trace_facts(workspace: Workspace) -> Mapping[str, Any]:
    """Trials are trained by the settings of `train`, without a teacher and as the network stands."""
    if not workspace.settings.slim.trials:
        return {"format": TRACE_FORMAT}
    trained, idle = chosen(workspace.settings, "train"), UNUSED_BY_TRIALS | workspace.settings.train.idle
    return {**{name: value for name, value in trained.items() if name not in idle}, "format": TRACE_FORMAT}


def _idle_training(workspace: Workspace) -> frozenset[str]:
    return workspace.settings.train.idle


def _judging_facts(workspace: Workspace) -> Mapping[str, Any]:
    """The share of the training images that scores epochs, where a setting asks for it."""
    settings = workspace.settings
    return {"supernet.held_out": settings.supernet.held_out} if settings.train.judges_epochs else {}


def _fine_tuning_facts(workspace: Workspace) -> Mapping[str, Any]:
    """And for a dense task the head of a network that has none."""
    of_head = chosen(workspace.settings, *OF_HEADS.get(workspace.task_name, ()))
    return {**_judging_facts(workspace), **of_head}


def _evaluation_facts(workspace: Workspace) -> Mapping[str, Any]:
    """Of masks how an image is scored."""
    return chosen(workspace.settings, "semantic.sliding") if workspace.task_name == "semantic" else {}


def _examples(workspace: Workspace) -> tuple[str, ...]:
    return ("examples",) if task_words(workspace.task_name).image_title else ()


TABLE = Phase(
    "table",
    "measures every part of the search space on the runtime by interleaved chain differences, and checks itself on "
    "whole networks",
    settings=("space", "resolution", "device", "runtime", "threads", "table.rounds"),
    derived=_table_facts,
    reads=(CLASSES, TABLE_DEVICE),
    writes=("table",),
    uses=("clock", "table.max_error", "slim.metric"),
)
SUPERNET = Phase(
    "supernet",
    "trains all networks of the space together: MetaPaths by Gumbel-softmax, V2 as a sandwich; or fine-tunes the "
    "network of `--init`",
    settings=("space", "resolution", "seed", "supernet", "parent"),
    idle=_idle_of_supernet,
    derived=_space,
    reads=(IMAGES, SOURCE, PARENT),
    writes=("supernet_weights", "supernet_record"),
    uses=("budget", "percentile", "slim.headroom", "clock", *TABLE.settings, *SCORING, *TRAINING_MACHINE, "track"),
    is_shared=True,
)
SLIM = Phase(
    "slim",
    "takes the action that costs the least accuracy per millisecond until each budget is met, and measures the "
    "networks it finds before they are trained",
    settings=("budget", "percentile", "limits", "device", "slim", *ROUND),
    idle=_idle_of_slim,
    derived=_trace_facts,
    reads=(file("table"), file("supernet_weights"), IMAGES, CORRECTIONS),
    writes=("trace",),
    after=(TABLE, SUPERNET),
    uses=("space", "resolution", "clock", *WEIGHTS, "verify.rounds", *TABLE_CHECK, *TRAINING_MACHINE),
)
BASELINES = Phase(
    "baselines",
    "compares slimming with random, scaled, MACs-driven, evolved and provably best networks of equal latency",
    settings=("baselines", "slim.actions", "slim.objective", "slim.metric", "slim.channels", "seed"),
    reads=(file("trace"), file("table"), file("supernet_weights"), IMAGES),
    writes=("baselines",),
    after=(SLIM,),
    uses=("space", "resolution", *SCORING, *TABLE_CHECK, *TRAINING_MACHINE),
)
RANK = Phase(
    "rank",
    "measures how well supernet scores rank networks against training each one from scratch",
    settings=("resolution", "seed", "train", "rank", "slim.images", "slim.bn_images", "slim.metric", "slim.channels"),
    reads=(file("table"), file("supernet_weights"), IMAGES, teacher("rank"), unlabelled("rank")),
    idle=_idle_training,
    derived=_judging_facts,
    writes=("rank",),
    after=(TABLE, SUPERNET),
    uses=("space", *SCORING, *TABLE_CHECK, *TRAINING_MACHINE),
)
TRAIN = Phase(
    "train",
    "trains every network with AdamW, a cosine schedule, label smoothing and a moving average, from new weights or "
    "the supernet's",
    settings=("resolution", "seed", "train"),
    idle=_idle_training,
    derived=_judging_facts,
    reads=(IMAGES, START, teacher("train"), unlabelled("train")),
    writes=("weights", "train_record", "architecture"),
    after=(SLIM,),
    uses=(*TRAINING_MACHINE, "track", "training_processes", "supernet.held_out"),
    each_network=True,
    is_shared=True,
)
FINE_TUNE = replace(
    TRAIN,
    name="fine-tune",
    does="trains a pretrained network on the run's images",
    after=(),
    derived=_fine_tuning_facts,
    reads=(IMAGES, START, teacher("fine-tune"), unlabelled("fine-tune")),
    uses=(*TRAIN.uses, *chain.from_iterable(OF_HEADS.values())),
)
EVALUATE = Phase(
    "evaluate",
    "scores every trained network on the validation images: top-1, top-5, per class, confusion matrix",
    settings=("resolution", "crop"),
    derived=_evaluation_facts,
    reads=(IMAGES, network_file("weights")),
    writes=("evaluation",),
    writes_too=_examples,
    after=(TRAIN,),
    uses=(*TRAINING_MACHINE, "semantic.sliding"),
    each_network=True,
)
EXPORT = Phase(
    "export",
    "writes every trained network as ONNX in deploy form, with class names and preprocessing inside, and compares it "
    "with PyTorch",
    settings=("resolution", "runtime", "export"),
    reads=(network_file("weights"), METADATA, TUNING_DEVICE),
    writes=("onnx", "export_record"),
    after=(TRAIN,),
    each_network=True,
)
TIME = Phase(
    "time",
    "measures the exported file of a fine-tuned network",
    settings=("resolution", "runtime", "threads", "verify"),
    derived=_clock,
    reads=(network_file("onnx"), DEVICE),
    writes=("latency",),
    after=(EXPORT,),
    uses=("clock",),
    each_network=True,
)
REFERENCE = Phase(
    "reference",
    "chooses the published network that a budget's network is compared with; one that is named is measured",
    settings=("reference", "percentile", "resolution", "runtime", "threads"),
    derived=_clock,
    reads=(FOUND_BUDGETS, SHORTLIST, DEVICE),
    writes=("references",),
    after=(SLIM,),
    uses=("budget", "clock", "crop", "reference_weights", "space", *IMAGE_SETTINGS),
)
TUNE_REFERENCE = replace(
    FINE_TUNE,
    does="trains a published network as the networks of the run are trained",
    writes=("weights", "train_record"),
    idle=lambda workspace: _idle_training(workspace) | {"train.init"},
)
"""Its stamps are those of fine-tuning, of a network called `reference NAME`."""
VERIFY = Phase(
    "verify",
    "measures the exported files interleaved with the largest network; a broken promise sends slimming on",
    settings=("budget", "percentile", "limits", "device", "runtime", "threads", "verify", "resolution"),
    derived=_verification_facts,
    reads=(EXPORTED_FILES, REFERENCES, DEVICE, FOUND),
    writes=("verification",),
    after=(EXPORT,),
    uses=("space", "clock", "crop", *IMAGE_SETTINGS),
)
PHASES = (TABLE, SUPERNET, SLIM, BASELINES, RANK, TRAIN, EVALUATE, EXPORT, VERIFY)
