"""Which settings and inputs make each phase out of date, and no other phase. The work is made up."""

import shutil
from typing import Any

import pytest

from efficientformer.arch.space_file import as_yaml, read_space, space_copy
from efficientformer.arch.spaces import QUICK
from efficientformer.pipeline.run.plan import EXPORT, PHASES, SLIM, SUPERNET, TABLE, TRAIN
from efficientformer.pipeline.run.settings import Settings, leaves
from efficientformer.pipeline.settings.teacher import WITHOUT_TEACHER
from efficientformer.pipeline.settings.training import OF_METAPATHS, OF_SLIMMABLE
from efficientformer.reading import read_record
from efficientformer.records import write_record

from .made_run import (
    Run,
    add_class,
    again,
    break_a_promise,
    other_machine,
    replace_images,
)

ALL = {phase.name for phase in PHASES}
TRAINED = {"rank", "train"}
STALE: dict[str, set[str]] = {
    "data": set(),  # another folder with the same images
    "val_fraction": set(),  # the folder has a split of its own
    "space": {"table", "supernet"},
    "resolution": {"table", "supernet", "rank", "train", "evaluate", "export", "verify"},
    "crop": {"evaluate", "export"},
    "seed": {"supernet", "baselines", "rank", "train"},
    "budget": {"slim", "verify"},
    "percentile": {"slim", "verify"},
    "device": {"table", "slim", "verify"},
    "runtime": {"table", "export", "verify"},
    "threads": {"table", "verify"},
    "clock": {"table", "verify"},
    "table.rounds": {"table"},
    "supernet": {"supernet"},
    **{f"supernet.{name}": set() for name in OF_METAPATHS},  # the space is of EfficientFormerV2
    "slim": {"slim"},
    "slim.images": {"slim", "rank"},
    "slim.bn_images": {"slim", "rank"},
    "slim.metric": {"slim", "rank", "baselines"},
    "slim.channels": {"slim", "rank", "baselines"},
    "slim.actions": {"slim", "baselines"},
    "slim.objective": {"slim", "baselines"},
    "limits": {"slim", "verify"},
    "baselines": {"baselines"},
    "rank": {"rank"},
    "train": TRAINED,
    **{name: set[str]() for name in WITHOUT_TEACHER},  # the run has no teacher
    "train.teacher": TRAINED,
    "train.unlabelled": TRAINED,
    "export": {"export"},
    "verify": {"verify"},
}
"""Phases that a setting makes out of date by itself; the group stands for its settings that are not listed. A setting
without an entry changes no record."""
OTHER: dict[str, Any] = {
    "preset": "standard",
    "space": "standard",
    "budget": ["50%"],
    "percentile": "p90",
    "device": "ssh:board",
    "device_program": "benchmark",
    "device_cores": "0",
    "litert_python": "python3",
    "runtime": "pytorch",
    "clock": "wall",
    "training_device": "cuda",
    "track": "wandb",
    "supernet.temperature": [1.0, 0.3],
    "supernet.noise": "none",
    "supernet.sampling": "soft",
    "supernet.elastic_width": "none",
    "supernet.augmentation": "strong",
    "supernet.precision": "bf16",
    "train.augmentation": "strong",
    "train.precision": "bf16",
    "train.init": "supernet",
    "supernet.batch_norm": "switchable",
    "slim.metric": "top1",
    "slim.channels": "important",
    "slim.objective": "mes",
    "slim.actions": "exchange",
    "supernet.held_out": 0.3,
    **{f"{group}.balance": "sampling" for group in ("supernet", "train", "parent")},
    **{f"{group}.keep": "best" for group in ("train", "parent")},
    **{f"parent.{name}": value for name, value in (("augmentation", "strong"), ("precision", "bf16"))},
    **{f"{group}.schedule": "poly" for group in ("supernet", "train", "parent")},
    **{f"{group}.{name}": 1e-5 for group in ("supernet", "train", "parent") for name in ("lr_final", "lr_warmup_from")},
    "crop": 0.8,
    "parent.weights": "s0.pth",
    "reference": "test_vit",  # the phases of it are its own
    "reference_weights": "s0.pth",
    "train.teacher": "regnety_160.deit_in1k",
    "train.distillation": "hard",
    "train.distillation_weight": 0.4,
    "task": "classification",
    "detection.depth": 3,
    "instance.box_width": 512,
}
SKIPPED = {"supernet_from", "data", "parent.init"}
"""Places; their content is compared."""


def changed(name: str, value: Any) -> dict[str, Any]:
    if name in OTHER:
        return {"value": OTHER[name]}
    if isinstance(value, bool):
        return {"value": not value}
    if isinstance(value, int):
        return {"value": value + 40}
    if isinstance(value, float):
        return {"value": value * 0.9 if value else 0.1}
    return {"value": 7}


@pytest.mark.parametrize("name", sorted(set(leaves()) - SKIPPED))
def test_a_setting_makes_out_of_date_exactly_what_depends_on_it(run, name):
    group, _, key = name.rpartition(".")
    before = run.workspace().settings
    value = getattr(getattr(before, group), key) if group else getattr(before, key)
    other = changed(name, value)["value"]
    if name == "preset":
        # A preset has no effect of its own: it gives values to other settings.
        kept = before.model_dump(mode="json", exclude={"supernet_from"})
        assert run.stale(**{**kept, "preset": other}) == set()
        return
    changes = {group: {**run.given.get(group, {}), key: other}} if group else {key: other}
    if name == "train.unlabelled":
        changes = {"train": {"teacher": "a name", "unlabelled": str(run.given["data"])}}
    if name == "train.init":
        assert run.stale(**changes) == TRAINED
        return
    expected = STALE.get(name, STALE.get(group, set()) if group else set())
    assert run.stale(**changes) == expected


def test_a_supernet_depends_on_the_settings_of_its_own_kind(tmp_path, images):
    run = Run(tmp_path / "run", images, space="quick")
    run.finish()
    for name in OF_METAPATHS:
        assert run.stale(supernet={name: changed(f"supernet.{name}", 0.01)["value"]}) == {"supernet"}
    for name in OF_SLIMMABLE:
        assert run.stale(supernet={name: changed(f"supernet.{name}", 1)["value"]}) == set()


def test_a_stamp_with_settings_without_effect_is_still_good(tmp_path, images):
    """Earlier versions wrote them."""
    run = Run(tmp_path / "run", images)
    run.finish()
    path = run.dir.stamp("supernet")
    stamp = read_record(path, Any)
    assert "supernet.noise" not in stamp["settings"]
    write_record(path, {**stamp, "settings": {**stamp["settings"], "supernet.noise": "gumbel"}})
    assert run.stale() == set()


def test_with_trials_slimming_depends_on_the_training(tmp_path, images):
    run = Run(tmp_path / "run", images, slim={"trials": 3, "polish": 0})
    run.finish()
    assert run.stale() == set() and run.stale(train={"epochs": 77}) == {"slim", *TRAINED}


INPUTS = {
    "other images": (replace_images, {"supernet", "slim", "baselines", "rank", "train", "evaluate"}),
    "another class": (add_class, ALL - {"verify"}),
    "another machine": (other_machine, {"table", "export", "verify"}),
    "the table measured again": (again(TABLE), {"slim", "baselines", "rank"}),
    "the supernet trained again": (again(SUPERNET), {"slim", "baselines", "rank"}),
    "slimmed again": (again(SLIM), {"baselines"}),
    "trained again": (again(TRAIN), {"evaluate", "export"}),
    "exported again": (again(EXPORT), {"verify"}),
    "a broken promise": (break_a_promise, {"slim"}),
}


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_makes_out_of_date_exactly_what_reads_it(run, name):
    change, expected = INPUTS[name]
    assert run.stale() == set()
    change(run)
    assert run.stale() == expected


def test_networks_that_start_from_the_supernet_depend_on_it(tmp_path, images):
    run = Run(tmp_path / "run", images, train={"init": "supernet"})
    run.finish()
    other = {"slim": {**run.given["slim"], "channels": "important"}}
    assert run.stale(**other) == {"slim", "baselines", "rank", "train"}
    again(SUPERNET)(run)
    assert run.stale() == {"slim", "baselines", "rank", "train"}


def test_every_setting_is_known_to_the_tests_above():
    assert set(STALE) <= {*leaves(), *(name for name in Settings.model_fields)}


def test_a_copy_of_the_images_elsewhere_changes_nothing(run, tmp_path):
    shutil.copytree(run.given["data"], tmp_path / "moved" / "images")
    assert run.stale(data=str(tmp_path / "moved" / "images")) == set()


def test_a_space_from_a_file_is_known_by_its_content(tmp_path, images):
    path, moved = tmp_path / "mine.yaml", tmp_path / "elsewhere.yaml"
    path.write_text(as_yaml(QUICK, with_name=False))
    run = Run(tmp_path / "run", images, space=str(path))
    run.finish()
    assert run.stale() == set()
    path.rename(moved)
    assert run.stale(space=str(moved)) == set()
    write_record(run.dir.space, space_copy(path, read_space(moved)))
    assert not path.exists() and run.stale() == set()
    moved.write_text(moved.read_text().replace("[16, 128]", "[32, 128]"))
    assert run.stale(space=str(moved)) == {"table", "supernet"}


TEACHERS = [("distillation", "hard"), ("distillation_weight", 0.3), ("temperature", 2.0), ("teacher", None)]


@pytest.mark.parametrize("name, value", TEACHERS)
def test_a_setting_of_the_teacher_trains_again_where_there_is_one(tmp_path, images, name, value):
    teacher = tmp_path / "teacher.onnx"
    teacher.write_text("a network")
    run = Run(tmp_path / "run", images, train={"teacher": str(teacher)})
    run.finish()
    assert run.stale() == set()
    assert run.stale(train={"teacher": str(teacher), name: value}) == TRAINED
    assert run.stale(train={"teacher": str(teacher), "unlabelled_share": 0.2}) == set(), "without unlabelled images"


def test_of_a_teacher_s_file_the_content_counts(tmp_path, images):
    """Neither its place nor its time; once networks are trained, it may be gone."""
    teacher, elsewhere = tmp_path / "teacher.onnx", tmp_path / "elsewhere.onnx"
    teacher.write_text("a network")
    run = Run(tmp_path / "run", images, train={"teacher": str(teacher)})
    run.finish()
    shutil.copyfile(teacher, elsewhere)
    assert run.stale(train={"teacher": str(elsewhere)}) == set()
    assert run.stale(train={"teacher": f"resnet18:{teacher}"}) == TRAINED, "another network of the same weights"
    teacher.unlink()
    assert run.stale() == set()
    teacher.write_text("another network")
    assert run.stale() == TRAINED


def test_of_unlabelled_images_the_content_counts(tmp_path, images):
    more = tmp_path / "more"
    shutil.copytree(images, more)
    run = Run(tmp_path / "run", images, train={"teacher": "a name", "unlabelled": str(more)})
    run.finish()
    assert run.stale() == set()
    shutil.copytree(more, tmp_path / "copy")
    train = {"teacher": "a name", "unlabelled": str(tmp_path / "copy")}
    assert run.stale(train=train) == set()
    assert run.stale(train={**train, "unlabelled_share": 0.2}) == TRAINED
    next((tmp_path / "copy").rglob("*.png")).unlink()
    assert run.stale(train=train) == TRAINED
