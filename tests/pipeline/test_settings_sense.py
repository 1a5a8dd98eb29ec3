"""Settings that contradict one another are refused; those without effect are named by the call that gave them."""

import pytest

from efficientformer.errors import UsageError
from efficientformer.pipeline.run import console
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.resolve_settings import merge_given, notes_on, resolve_settings
from efficientformer.pipeline.run.settings import Settings


def notes(given, **options):
    return notes_on(resolve_settings(given), given, **options)


def test_few_epochs_shorten_the_schedule_of_the_preset_and_say_so():
    given = {"preset": "standard", "train": {"epochs": 3}}
    assert resolve_settings(given).train.lr_warmup_epochs == pytest.approx(5 * 3 / 100)
    (note,) = notes(given)
    assert note == "train.lr_warmup_epochs is 0.15 instead of the preset's 5, which does not fit in train.epochs 3"
    given = {"preset": "fine_tune", "train": {"epochs": 1}, "supernet": {"epochs": 1}}
    settings = resolve_settings(given)
    assert settings.train.frozen_epochs == settings.train.lr_warmup_epochs == pytest.approx(1 / 20)
    assert settings.supernet.lr_warmup_epochs == pytest.approx(1 / 8)
    assert [note.split()[0] for note in notes(given)] == [
        "supernet.lr_warmup_epochs",
        "train.frozen_epochs",
        "train.lr_warmup_epochs",
    ]


@pytest.mark.parametrize("given", [{"preset": "standard", "train": {"epochs": 12}}, {"train": {"epochs": 2}}, {}])
def test_a_schedule_that_fits_is_as_the_preset_has_it(given):
    assert (
        resolve_settings(given).train.lr_warmup_epochs
        == resolve_settings({name: value for name, value in given.items() if name == "preset"}).train.lr_warmup_epochs
    )
    assert notes(given) == []


@pytest.mark.parametrize(
    ("group", "given", "named"),
    [
        ("train", {"epochs": 3, "lr_warmup_epochs": 5.0}, "train.lr_warmup_epochs 5 leave none of train.epochs 3"),
        ("train", {"lr_warmup_epochs": 10.0}, "train.lr_warmup_epochs 10 leave none of train.epochs 10"),
        ("train", {"epochs": 4, "frozen_epochs": 5.0}, "train.frozen_epochs 5 and train.lr_warmup_epochs 0.4"),
        ("train", {"frozen_epochs": 9.0, "lr_warmup_epochs": 2.0}, "frozen_epochs 9 and train.lr_warmup_epochs 2"),
        ("supernet", {"epochs": 1, "lr_warmup_epochs": 1.0}, "supernet.lr_warmup_epochs 1 leave none"),
    ],
)
def test_a_schedule_longer_than_its_training_is_refused(group, given, named):
    with pytest.raises(UsageError, match=named) as refused:
        resolve_settings({group: given})
    assert "\n" not in str(refused.value)


def test_a_recipe_of_ones_own_that_contradicts_itself_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("train: {epochs: 4, lr_warmup_epochs: 5}\n")
    with pytest.raises(UsageError, match=r"lr_warmup_epochs 5 leave none of train\.epochs 4"):
        resolve_settings({"preset": str(path)})
    with pytest.raises(UsageError, match="leave none"):
        resolve_settings({"preset": str(path), "train": {"epochs": 3}})
    assert resolve_settings({"preset": str(path), "train": {"epochs": 6}}).train.lr_warmup_epochs == 5


def test_training_the_head_alone_needs_no_schedule():
    given = {"train": {"epochs": 4, "frozen_epochs": 4.0, "init": "supernet"}}
    assert resolve_settings(given).train.frozen_epochs == 4 and notes(given) == []
    given["train"]["lr_warmup_epochs"] = 0.5
    assert notes(given) == ["train.lr_warmup_epochs has no effect: train.frozen_epochs is all of train.epochs"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"clock": "cpu", "threads": 2}, "clock 'cpu' counts one thread, not threads 2"),
        ({"clock": "cpu", "device": "adb"}, "cannot be read on device 'adb'"),
        ({"clock": "cpu", "device": "command:./bench.sh"}, "cannot be read on device 'command:./bench.sh'"),
        ({"train": {"ema_decay": 1.0}}, "train.ema_decay"),
        ({"train": {"lr": 1e-3, "lr_final": 2e-3}}, "train: lr_final 0.002 is above the peak learning rate, 0.001"),
        ({"train": {"lr": 1e-3, "lr_per": 640, "lr_warmup_from": 2e-4}}, "lr_warmup_from 0.0002 is above .* 0.0001"),
        ({"supernet": {"held_out": 0.0}}, "supernet.held_out"),
        ({"val_fraction": 0.9}, "val_fraction"),
        ({"slim": {"lazy": True, "workers": 2}}, "workers 1"),
        ({"slim": {"polish": 1, "recover_every": 1}}, "polish 0"),
        ({"slim": {"channels": "important"}, "supernet": {"batch_norm": "switchable"}}, "supernet.batch_norm 'shared'"),
    ],
)
def test_contradictory_settings_and_values_without_sense_are_refused(given, named):
    with pytest.raises(UsageError, match=named):
        resolve_settings({"preset": "quick", **given})


V1 = {"space": "quick"}
IDLE = [
    ({**V1, "supernet": {"noise": "gumbel"}}, {"supernet": {"sampling": "soft"}}, "supernet.noise"),
    ({**V1, "supernet": {"temperature": [1.0, 0.5]}}, {"supernet": {"sampling": "soft"}}, "supernet.temperature"),
    ({"train": {"lr_final": 0.0, "schedule": "steps"}}, {"train": {"schedule": "poly"}}, "train.lr_final"),
    (
        {"parent": {"init": "efficientformer_l1", "clip_norm": 2.0, "agc": 0.01}},
        {"parent": {"agc": 0.0}},
        "parent.clip",
    ),
    (
        {"supernet": {"lr_warmup_from": 0.0, "lr_warmup_epochs": 0.0}},
        {"supernet": {"lr_warmup_epochs": 1.0}},
        "supernet.lr_warmup_from",
    ),
    ({"slim": {"recover_steps": 9}}, {"slim": {"recover_every": 2, "polish": 0}}, "slim.recover_steps"),
    ({"slim": {"recover_lr": 0.1}}, {"slim": {"recover_every": 2, "polish": 0}}, "slim.recover_lr"),
    ({"slim": {"trial_epochs": 3}}, {"slim": {"trials": 2}}, "slim.trial_epochs"),
    ({"slim": {"trials": 1}}, {"slim": {"trials": 2}}, "slim.trials"),
    ({"train": {"frozen_epochs": 1.0}}, {"train": {"init": "supernet"}}, "train.frozen_epochs"),
    ({"val_fraction": 0.3}, {"data": "photos"}, "val_fraction"),
    ({"runtime": "openvino", "device": "command:./bench.sh"}, {"device": "local"}, "runtime"),
    ({"litert_python": "python3"}, {"runtime": "litert"}, "litert_python"),
    ({"percentile": "p90"}, {"clock": "wall"}, "percentile p90"),
]


@pytest.mark.parametrize(("given", "remedy", "named"), IDLE, ids=[named for *_, named in IDLE])
def test_a_setting_without_effect_is_named_and_one_with_effect_is_not(given, remedy, named):
    (note,) = notes(given)
    assert note.startswith(named) and "\n" not in note
    assert notes(merge_given(given, remedy)) == []
    assert notes_on(resolve_settings(given), {}) == [], "said by the call that gave it alone"


def test_fine_tuning_names_what_it_starts_from():
    given = {"preset": "fine_tune", "train": {"init": "supernet", "frozen_epochs": 2.0}}
    assert notes(given, fine_tunes=True) == ["train.init has no effect: train --init names what to start from"]
    assert notes(given) == []


def said(request, capsys):
    capsys.readouterr()
    with open_run(request) as workspace:
        assert workspace.settings
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]


def test_a_run_says_it_once_and_goes_on_with_what_it_was_given(tmp_path, capsys):
    flags = Settings.model_validate({"preset": "standard", "train": {"epochs": 3}, "slim": {"recover_lr": 0.1}})
    lines = said(RunRequest(flags, tmp_path / "run"), capsys)
    assert len(lines) == 2 and "train.lr_warmup_epochs is 0.15" in lines[0] and "slim.recover_lr" in lines[1]
    assert said(RunRequest(run_dir=tmp_path / "run"), capsys) == []
    with open_run(RunRequest(Settings.model_validate({"train": {"epochs": 50}}), tmp_path / "run")) as workspace:
        assert workspace.settings.train.lr_warmup_epochs == 5, "the preset's, now that it fits"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"threads": 16}, "threads 16: this machine has 2 cores"),
        (
            {"workers": 8, "training_threads": 4, "slim": {"workers": 3}},
            "training_threads 4, workers 8, slim.workers 3",
        ),
        ({"threads": 2, "workers": 2, "slim": {"workers": 2}}, None),
        ({"threads": 16, "device": "ssh:me@board"}, None),
        ({"threads": 16, "device": "python:/opt/python"}, "threads 16"),
        ({"preset": "imagenet"}, None),
    ],
)
def test_more_threads_than_cores_get_one_line(given, named, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(console, "usable_cores", lambda: 2)
    lines = said(RunRequest(Settings.model_validate(given), tmp_path / "run"), capsys)
    assert lines == [] if named is None else len(lines) == 1 and named in lines[0]


def test_one_core_is_one_core(capsys, monkeypatch):
    monkeypatch.setattr(console, "usable_cores", lambda: 1)
    RunConsole().warn_of_cores({"threads": 2, "workers": 1})
    assert "threads 2: this machine has 1 core, and" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha_lr", 0.1),
        ("temperature", (1.0, 0.5)),
        ("noise", "gumbel"),
        ("sampling", "even"),
        ("elastic_width", "none"),
    ],
)
def test_what_is_of_metapaths_has_no_effect_in_a_space_without_them(name, value):
    given = {"supernet": {name: value}}
    (note,) = notes({"space": "v2_quick", **given})
    assert note.startswith(f"supernet.{name} has no effect: the supernet of an EfficientFormerV2 space has no paths")
    assert not [note for note in notes({"space": "quick", **given}) if "EfficientFormerV2" in note]


def test_settings_of_every_supernet_have_an_effect_in_a_space_without_metapaths():
    given = {"mixup": 0.2, "cutmix": 0.2, "ema_decay": 0.9, "recompute": True, "label_smoothing": 0.2, "epochs": 4}
    of_v2 = {"batch_norm": "switchable", "networks": 2}
    assert notes({"space": "v2_quick", "supernet": {**given, **of_v2}}) == []
    expected = [f"supernet.{name} has no effect: it is of EfficientFormerV2 spaces" for name in of_v2]
    assert notes({"space": "quick", "supernet": of_v2}) == expected
