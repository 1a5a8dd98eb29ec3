import pytest

from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.corrections import read_corrections
from efficientformer.pipeline.run.inputs import file_digests
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.settings import FINER_DEFAULTS, Settings
from efficientformer.pipeline.run.stamps import MISSING, Stamp, chosen, run_stamped, stamp_changes
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.training import BY_MACHINE, FINER
from efficientformer.run_dir import RunDir


@pytest.fixture
def phase(tmp_path):
    """Run the phase with the given settings and inputs; returns whether it worked and what was announced."""
    run_dir, output, said = RunDir(tmp_path), tmp_path / "out.json", []

    def run(settings, inputs=None, *, fail=False):
        def work(fingerprint):
            if fail:
                raise KeyboardInterrupt
            output.write_text(fingerprint)

        stamp = Stamp("train", settings, inputs or {})
        worked = run_stamped(run_dir, stamp, [output], work, lambda name, text: said.append(text))
        return worked, said[-1]

    run.output = output
    return run


def test_a_phase_is_done_once(phase):
    assert phase({"epochs": 3}) == (True, "")
    assert phase({"epochs": 3}) == (False, "up to date")


def test_a_changed_setting_is_named(phase):
    phase({"epochs": 3, "lr": 0.1})
    assert phase({"epochs": 5, "lr": 0.1}) == (True, "again, because epochs changed from 3 to 5")


def test_a_changed_input_is_named(phase):
    phase({}, {"table.json": "a"})
    assert phase({}, {"table.json": "b"}) == (True, "again, because table.json changed")


def test_a_missing_output_means_work(phase):
    phase({})
    phase.output.unlink()
    assert phase({})[0]


def test_an_interrupted_phase_is_not_taken_for_done(phase):
    phase({"epochs": 3})
    with pytest.raises(KeyboardInterrupt):
        phase({"epochs": 4}, fail=True)
    assert phase({"epochs": 3})[0], "the outputs may be half of the other run"


def test_an_input_that_is_gone_is_named(phase):
    phase({}, {"table.json": "a"})
    assert phase({}, {"table.json": MISSING}) == (True, "again, because table.json is missing")


def test_a_file_that_is_gone_is_out_of_date_and_no_crash(tmp_path):
    workspace = Workspace(RunDir(tmp_path), resolve_settings({}), RunConsole())
    tmp_path.joinpath("table.json").write_text("{}")
    digests = file_digests(workspace, "table", "supernet_weights")
    assert digests["supernet/weights.safetensors"] == MISSING != digests["table.json"]
    tmp_path.joinpath("table.json").unlink()
    assert read_corrections(workspace) == {}


SET = {"lr_per": 1024, "schedule": "poly", "lr_final": 1e-5, "lr_warmup_from": 1e-6, "accumulate": 2, "clip_norm": 0.0}
SET |= {"agc": 0.01, "repeated": 3, "head_dropout": 0.1, "sync_batch_norm": True, "compile": True}


@pytest.mark.parametrize("name", FINER_DEFAULTS)
def test_a_finer_setting_is_in_stamps_where_it_is_set_and_a_change_is_seen_both_ways(name):
    group, _, leaf = name.partition(".")
    other = Settings.model_validate({group: {leaf: SET[leaf]}})
    before, after = ({"settings": chosen(it, group), "inputs": {}, "version": "1"} for it in (Settings(), other))
    assert name not in before["settings"], "runs of before there were such settings stay up to date"
    assert after["settings"] == {**before["settings"], name: SET[leaf]}
    default = FINER_DEFAULTS[name]
    assert stamp_changes(before, after) == [f"{name} changed from {default} to {SET[leaf]}"]
    assert stamp_changes(after, before) == [f"{name} changed from {SET[leaf]} to {default}"]
    assert stamp_changes(after, after) == stamp_changes(before, before) == []


@pytest.mark.parametrize("name", BY_MACHINE)
def test_what_the_machine_decides_accepts_what_others_made_and_what_is_asked_for_is_obeyed(name):
    group, _, leaf = name.partition(".")

    def stamp(settings):
        return {"settings": chosen(settings, group), "inputs": {}, "version": "1"}

    auto, fp32, bf16 = (Settings.model_validate({group: {leaf: value}}) for value in ("auto", "fp32", "bf16"))
    assert name not in stamp(auto)["settings"] and auto == Settings()
    assert stamp_changes(stamp(fp32), stamp(auto)) == [], "runs of before, when fp32 was the default and in stamps"
    assert stamp_changes(stamp(bf16), stamp(auto)) == []
    assert stamp_changes(stamp(auto), stamp(fp32)) == [f"{name} changed from auto to fp32"]
    assert stamp_changes(stamp(bf16), stamp(fp32)) == [f"{name} changed from bf16 to fp32"]


def test_every_finer_setting_is_one_of_a_training():
    assert {name.partition(".")[2] for name in FINER_DEFAULTS} == set(FINER) == set(SET)
