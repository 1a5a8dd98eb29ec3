"""Each phase declares the settings that it reads, no more and no less."""

from collections.abc import Iterator

import pytest

from efficientformer.pipeline.phases import baselines, evaluate, export, rank, slim, supernet, table, train, verify
from efficientformer.pipeline.run import phase, settings
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.plan import PHASES
from efficientformer.pipeline.run.settings import Settings, leaves

from .conftest import SCALE, SPACE

GIVEN = {
    "resolution": 16,
    "seed": 1,
    "budget": ["60%", "40%"],
    "device": f"{SCALE} first",
    "limits": {"params_m": 100.0},
    "table": {"rounds": 2},
    "supernet": {"epochs": 1, "batch_size": 16},
    "slim": {"bn_images": 32, "polish": 2, "trials": 0, "actions": "paper", "stride": 0.5},
    "baselines": {"random": 2, "evolution": 0.1},
    "rank": {"networks": 3},
    "train": {"epochs": 1, "batch_size": 16},
    "training_processes": 1,
    "training_threads": 1,
    "verify": {"rounds": 40},
}
MODULES = (table, supernet, slim, baselines, rank, train, evaluate, export, verify)
SELDOM = {
    "training_processes": "other processes read the settings unseen; what they get has its own tests",
    "supernet.batch_norm": "spaces of EfficientFormerV2 have it",
    "semantic.sliding": "images with masks have it",
    "parent.init": "whether there is a parent decides what the supernet is, which all later phases compare",
    "supernet.held_out": "train reads it where a setting asks for epochs to be judged",
    "supernet_from": "read by a run that takes a supernet over",
    "supernet.batch_size": "recovery trains with it",
    "supernet.augmentation": "recovery trains with it",
    "table.allow_foreign": "read where there is a table already",
    **{f"train.{name}": "what training learned from is compared with it" for name in ("init", "teacher", "unlabelled")},
    "export.autotune": "what an export depended on is compared by verify",
    "slim.headroom": "part of every promise; only the search acts on it",
    "verify.rounds": "slim reads it where a measurement leaves a promise open",
}


@pytest.fixture
def read(monkeypatch) -> Iterator[set[str]]:
    """Names of the settings that were read, other than by comparing stamps of earlier phases."""
    names: set[str] = set()
    groups = {type(Settings.model_fields[name].default): name for name in Settings.model_fields}
    pauses = [0]
    get = settings.SettingsGroup.__getattribute__

    def note(self, name):
        value = get(self, name)
        if not pauses[0] and name in type(self).model_fields and not isinstance(value, settings.SettingsGroup):
            group = "" if isinstance(self, Settings) else f"{groups[type(self)]}."
            names.add(f"{group}{name}")
        return value

    def noting_chosen(values, *asked):
        if not pauses[0]:
            names.update(leaf for name in asked for leaf in leaves(name))
        return chosen(values, *asked)

    def require_and_compare(self, *arguments, **options):
        required.append(self)
        try:
            return require(self, *arguments, **options)
        finally:
            required.pop()

    def compared(self, workspace):
        assert workspace.dataset  # read once, by whoever comes first
        pauses[0] += self in required
        try:
            return settings_of(self, workspace)
        finally:
            pauses[0] -= self in required
            for cached in ("space", "named_space"):
                vars(workspace).pop(cached, None)  # whose work needs it reads it again

    required: list[phase.Phase] = []
    chosen, require, settings_of = phase.chosen, phase.Phase.require, phase.Phase._settings
    monkeypatch.setattr(settings.SettingsGroup, "__getattribute__", note)
    monkeypatch.setattr(phase, "chosen", noting_chosen)
    monkeypatch.setattr(phase.Phase, "require", require_and_compare)
    monkeypatch.setattr(phase.Phase, "_settings", compared)
    yield names


@pytest.mark.slow
@pytest.mark.parametrize("space", ["small.yaml", "small_v2.yaml"])
def test_each_phase_reads_the_settings_that_it_declares(space, read, photos, tmp_path):
    given = {**GIVEN, "preset": "quick", "space": str(SPACE.with_name(space)), "data": str(photos)}
    request = RunRequest(Settings.model_validate(given), tmp_path / "run")
    for declared, module in zip(PHASES, MODULES, strict=True):
        with open_run(request) as workspace:
            read.clear()
            module.run(workspace)
        undeclared = read - declared.shown_settings - set(SELDOM)
        assert not undeclared, f"{declared.name} reads {sorted(undeclared)} and does not declare them"
        unread = declared.shown_settings - read - set(SELDOM)
        assert not unread, f"{declared.name} declares {sorted(unread)} and does not read them"
