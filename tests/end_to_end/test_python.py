"""Python has what the command line has: the same names, settings and records."""

import inspect
from typing import Any

import pytest

import efficientformer as ef
from efficientformer.cli.app import VERBS
from efficientformer.errors import UsageError
from efficientformer.pipeline import verbs
from efficientformer.pipeline.run.open_run import RunRequest
from efficientformer.pipeline.run.resolve_settings import with_given
from efficientformer.reading import read_record

IN_PIPELINE = {"analyze", "benchmark", "predict", "report", "shortlist"}
OF_NO_RUN = {"space", "data"}
"""In Python: `efficientformer.arch.spaces.SPACES`, and `read_space` for a file; `efficientformer.check_images`."""


def test_every_verb_of_a_run_is_a_function_of_the_same_name():
    names = {verb.__name__ for verb in VERBS} - IN_PIPELINE - OF_NO_RUN
    assert names <= set(vars(verbs))
    for name in names:
        parameters = inspect.signature(getattr(verbs, name)).parameters
        assert {"settings", "run_dir", "config", "given"} <= set(parameters)


def test_settings_come_as_a_value_by_name_or_both(tmp_path):
    both = with_given(
        ef.Settings, ef.Settings(seed=3, data="photos"), {"seed": 4, "train": {"epochs": 7}, "budget": "8ms"}
    )
    assert (both.seed, both.data, both.train.epochs, both.budget) == (4, "photos", 7, ("8ms",))
    # What nobody set is left to the preset.
    request = RunRequest(with_given(ef.Settings, None, {"preset": "standard", "train": {"lr": 1e-3}}), tmp_path / "run")
    settings = request.resolved()
    assert (settings.train.lr, settings.train.epochs, settings.resolution) == (1e-3, 100, 128)


@pytest.mark.parametrize("given", [{"train": {"epoch": 3}}, {"epochs": 3}, {"budget": "8"}, {"preset": "fast"}])
def test_a_wrong_setting_is_a_usage_error(given, tmp_path):
    with pytest.raises(UsageError, match=r"epoch|epochs|write 8ms|no preset 'fast'"):
        ef.design(run_dir=tmp_path / "run", **given)


def test_weights_without_a_network_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--weights goes with --init NAME"):
        ef.train(weights=tmp_path / "weights.pth", run_dir=tmp_path / "run")


@pytest.mark.slow
def test_a_finished_run_answers_alike_from_python(designed, photos):
    run_dir, printed, _ = designed
    assert ef.design(run_dir=run_dir) == printed
    records = ef.export(run_dir=run_dir)
    assert records == [read_record(run_dir / "networks" / entry["slug"] / "export.json", Any) for entry in printed]
    found = ef.predict(printed[0]["onnx"], photos / "val", sheet=run_dir / "sheet.png")
    assert len(found.predictions) == 24 and not found.skipped and (run_dir / "sheet.png").is_file()
    assert set(found.predictions[0].classes) == {"flat", "across", "down"}
