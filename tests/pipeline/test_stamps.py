import pytest

from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.corrections import read_corrections
from efficientformer.pipeline.run.inputs import file_digests
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.stamps import MISSING, Stamp, run_stamped
from efficientformer.pipeline.run.workspace import Workspace
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


def test_a_setting_that_an_earlier_version_did_not_have_was_at_its_default(phase):
    phase({"train.epochs": 3})
    assert phase({"train.epochs": 3, "train.sync_batch_norm": False}) == (False, "up to date")
    again = "again, because train.sync_batch_norm changed from False to True"
    assert phase({"train.epochs": 3, "train.sync_batch_norm": True}) == (True, again)


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
